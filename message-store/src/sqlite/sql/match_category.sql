-- The messages of category ?1 after position ?2 with one of the types ?3 (a JSON array, or NULL for any).
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM all_messages
WHERE category = ?1 AND global_position > ?2 AND (?3 IS NULL OR type IN (SELECT value FROM json_each(?3)))
ORDER BY global_position
