SELECT version, global_position, message_id, stream_name, position, message_type, error, {skipped_at}
FROM {schema}read_model_skipped
WHERE name = $1
ORDER BY version, global_position
