-- The number of messages of category ?1 after position ?2, the time of the first of them, and the last position of the
-- category, which is never archived.
SELECT
  (SELECT count(*) FROM messages WHERE category = ?1 AND global_position > ?2)
    + (SELECT count(*) FROM archived_messages WHERE category = ?1 AND global_position > ?2),
  (
    SELECT time
    FROM (
      SELECT * FROM (
        SELECT global_position, time FROM messages WHERE category = ?1 AND global_position > ?2 ORDER BY global_position LIMIT 1
      )
      UNION ALL
      SELECT * FROM (
        SELECT global_position, time FROM archived_messages WHERE category = ?1 AND global_position > ?2 ORDER BY global_position LIMIT 1
      )
    )
    ORDER BY global_position
    LIMIT 1
  ),
  (SELECT max(global_position) FROM messages WHERE category = ?1)
