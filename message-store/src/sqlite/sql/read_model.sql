SELECT global_position FROM read_models WHERE name = ?1
