SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM {messages}
WHERE category = ?1 AND global_position >= ?2
ORDER BY global_position
LIMIT ?3
