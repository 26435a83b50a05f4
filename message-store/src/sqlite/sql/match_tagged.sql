-- The messages of category ?1 after position ?2 with one of the types ?3 (a JSON array, or NULL for any) and all tags of the JSON array ?4.
-- ?5 is one of these tags.
SELECT m.id, m.stream_name, m.type, m.position, m.global_position, m.data, m.metadata, m.time
FROM message_tags AS t
CROSS JOIN all_messages AS m ON m.global_position = t.global_position
WHERE t.category = ?1 AND t.tag = ?5 AND t.global_position > ?2
  AND (?3 IS NULL OR m.type IN (SELECT value FROM json_each(?3)))
  AND NOT EXISTS (
    SELECT 1 FROM json_each(?4) AS wanted
    WHERE NOT EXISTS (
      SELECT 1 FROM message_tags AS o WHERE o.category = t.category AND o.tag = wanted.value AND o.global_position = t.global_position
    )
  )
ORDER BY t.global_position
