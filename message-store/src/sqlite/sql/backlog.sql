-- The number of messages of category ?1 after position ?2, the time of the first of them, and the last position of the
-- category.
SELECT
  (SELECT count(*) FROM messages WHERE category = ?1 AND global_position > ?2),
  (SELECT time FROM messages WHERE category = ?1 AND global_position > ?2 ORDER BY global_position LIMIT 1),
  (SELECT max(global_position) FROM messages WHERE category = ?1)
