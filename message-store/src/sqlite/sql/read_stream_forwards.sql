SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM {messages}
WHERE stream_name = ?1 AND position >= ?2
ORDER BY position
LIMIT ?3
