-- The messages of the stream $1, and of those whose names begin with $1 and `+`. (`,` is the character after `+`. In an adopted database
-- whose names have another collation, the range is searched for without the index.)
SELECT global_position FROM message_store.messages WHERE stream_name = $1 AND global_position + 0 > $2
UNION ALL
SELECT global_position FROM message_store.messages
WHERE stream_name COLLATE "C" >= $1 || '+' AND stream_name COLLATE "C" < $1 || ',' AND global_position + 0 > $2
