-- The messages of the stream $1, and of those whose names begin with $1 and `+`, after the global position $2, at most $3, in the table
-- of messages and in the archive. (`,` is the character after `+`. In an adopted database whose names have another collation, the range
-- is searched for without the index. With `+ 0`, the planner cannot walk all messages in the order of their positions.)
WITH found AS MATERIALIZED (
  SELECT global_position FROM message_store.messages WHERE stream_name = $1 AND global_position + 0 > $2
  UNION ALL
  SELECT global_position FROM message_store.messages
  WHERE stream_name COLLATE "C" >= $1 || '+' AND stream_name COLLATE "C" < $1 || ',' AND global_position + 0 > $2
)
SELECT m.*
FROM (SELECT global_position FROM found ORDER BY global_position LIMIT $3) AS page
CROSS JOIN LATERAL (
  SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
  FROM message_store.messages
  WHERE global_position = page.global_position
  LIMIT 1
) AS m
ORDER BY m.global_position
