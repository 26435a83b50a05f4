-- (The beginning of the name: any program may write a long text there, and an entry of an index has a greatest size.)
CREATE INDEX {concurrently} IF NOT EXISTS {name} ON message_store.{table}
(left(metadata ->> 'correlationStreamName', 255), global_position)
WHERE metadata ->> 'correlationStreamName' IS NOT NULL
