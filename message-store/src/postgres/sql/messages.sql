-- The messages with these ids. Each id is looked up in the index: a plan that was made while the table was small would
-- read the whole table for a list, and is kept.
SELECT m.*
FROM unnest($1::uuid[]) AS ids (id)
CROSS JOIN LATERAL (
  SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
  FROM message_store.messages
  WHERE id = ids.id
  LIMIT 1
) AS m
