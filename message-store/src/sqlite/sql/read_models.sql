SELECT name, global_position FROM read_models ORDER BY name
