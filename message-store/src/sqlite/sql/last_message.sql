-- The last message of a stream; with ?2, the last of that type.
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM all_messages
WHERE stream_name = ?1 AND (?2 IS NULL OR type = ?2)
ORDER BY position DESC
LIMIT 1
