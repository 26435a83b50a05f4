-- The messages of the stream $1.
SELECT global_position FROM message_store.messages WHERE stream_name = $1 AND global_position + 0 > $2
