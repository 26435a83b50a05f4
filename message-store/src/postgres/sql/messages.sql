SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
FROM message_store.messages
WHERE id = ANY ($1)
