INSERT INTO {schema}read_models (name, global_position) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING
