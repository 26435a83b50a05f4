INSERT INTO {schema}read_model_versions (name, version, position_name, state) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
