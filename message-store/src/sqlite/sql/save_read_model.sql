INSERT OR REPLACE INTO read_models (name, global_position) VALUES (?1, ?2)
