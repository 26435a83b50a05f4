-- Messages by the stream of their correlation. A text that is no JSON has no entry.
CREATE INDEX messages_correlation ON messages (json_extract(metadata, '$.correlationStreamName'), global_position)
WHERE json_valid(metadata) AND instr(metadata, '"correlationStreamName"') > 0;

CREATE INDEX archived_messages_correlation ON archived_messages (json_extract(metadata, '$.correlationStreamName'), global_position)
WHERE json_valid(metadata) AND instr(metadata, '"correlationStreamName"') > 0;
