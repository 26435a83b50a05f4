SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM all_messages
WHERE id = ?1
