SELECT stream_name, position, global_position, metadata
FROM messages
WHERE id = ?1
