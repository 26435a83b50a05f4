INSERT INTO {schema}read_model_skipped (name, version, global_position, message_id, stream_name, position, message_type, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (name, version, global_position) DO NOTHING
