-- The places of those messages with these ids that a handler has written. Each id is looked up in the index, as in
-- messages.sql.
SELECT m.*
FROM unnest($1::uuid[]) AS ids (id)
CROSS JOIN LATERAL (
  SELECT id, stream_name, position, global_position
  FROM message_store.messages
  WHERE id = ids.id AND metadata -> 'messageStore' -> 'handler' = to_jsonb($2::text)
  LIMIT 1
) AS m
