-- The messages of the stream ?1 after the global position ?2, at most ?3, in the table of messages and in the archive.
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM all_messages
WHERE stream_name = ?1 AND global_position > ?2
ORDER BY global_position
LIMIT ?3
