-- The last message of a stream; with $2, the last of that type.
SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
FROM message_store.messages
WHERE stream_name = $1 AND ($2::text IS NULL OR type = $2)
ORDER BY position DESC
LIMIT 1
