-- The reader compares the metadata itself: SQLite takes the first of two equal keys.
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM {messages}
WHERE json_valid(metadata) AND instr(metadata, '"correlationStreamName"') > 0
  AND json_extract(metadata, '$.correlationStreamName') = ?1 AND global_position >= ?2
ORDER BY global_position
LIMIT ?3
