CREATE INDEX {concurrently} IF NOT EXISTS {name} ON message_store.{table}
USING gin ((metadata -> 'messageStore' -> 'tags') jsonb_path_ops)
WITH (fastupdate = off)
WHERE metadata -> 'messageStore' -> 'tags' IS NOT NULL
