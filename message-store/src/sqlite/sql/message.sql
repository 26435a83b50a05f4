SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM messages
WHERE id = ?1
