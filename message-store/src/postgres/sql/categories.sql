-- The categories after $1, at most $2 of them. The index gives the next category in one step, so the number of messages does
-- not matter. The last message of a category is never archived.
WITH RECURSIVE found(category) AS (
  (
    SELECT message_store.category(stream_name)::text
    FROM ONLY message_store.messages
    WHERE message_store.category(stream_name)::text > $1::text
    ORDER BY message_store.category(stream_name)::text
    LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT message_store.category(stream_name)::text
    FROM ONLY message_store.messages
    WHERE message_store.category(stream_name)::text > found.category
    ORDER BY message_store.category(stream_name)::text
    LIMIT 1
  )
  FROM found
  WHERE found.category IS NOT NULL
)
SELECT category FROM found WHERE category IS NOT NULL LIMIT $2
