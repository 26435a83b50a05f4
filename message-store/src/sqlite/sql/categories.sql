-- The categories after ?1, at most ?2 of them. The index gives the next category in one step, so the number of messages does
-- not matter. The last message of a category is never archived.
WITH RECURSIVE found(category) AS (
  SELECT min(category) FROM messages WHERE category > ?1
  UNION ALL
  SELECT (SELECT min(category) FROM messages WHERE category > found.category)
  FROM found
  WHERE found.category IS NOT NULL
)
SELECT category FROM found WHERE category IS NOT NULL LIMIT ?2
