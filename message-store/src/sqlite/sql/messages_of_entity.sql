-- The messages of the stream ?1, and of those whose names begin with ?1 and `+`, after the global position ?2, at most ?3, in the table
-- of messages and in the archive. (`,` is the character after `+`.)
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM all_messages
WHERE (stream_name = ?1 OR (stream_name >= ?1 || '+' AND stream_name < ?1 || ',')) AND global_position > ?2
ORDER BY global_position
LIMIT ?3
