CREATE INDEX {concurrently} IF NOT EXISTS archived_messages_correlation ON message_store.archived_messages
(left(metadata ->> 'correlationStreamName', 255), global_position)
WHERE metadata ->> 'correlationStreamName' IS NOT NULL
