-- Messages that are erased, after the global position $2 and at most $3, in the table of messages and in the archive. The statement between
-- the parentheses selects their global positions. (With `+ 0` there, the planner cannot walk all messages in the order of their positions.)
WITH found AS MATERIALIZED (
{found}
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
