-- The stored messages with the ids of messages that are to be appended.
SELECT id, stream_name, type, data::text, position, global_position
FROM message_store.messages
WHERE id = ANY ($1)
