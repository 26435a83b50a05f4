CREATE INDEX {concurrently} IF NOT EXISTS archived_messages_tags ON message_store.archived_messages
USING gin ((metadata -> 'messageStore' -> 'tags') jsonb_path_ops)
WITH (fastupdate = off)
WHERE metadata -> 'messageStore' -> 'tags' IS NOT NULL
