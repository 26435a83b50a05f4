UPDATE {schema}read_models SET global_position = $2 WHERE name = $1
