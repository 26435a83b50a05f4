SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM {messages}
WHERE global_position >= ?1
ORDER BY global_position
LIMIT ?2
