-- The messages with the tag $1.
SELECT global_position FROM message_store.messages
WHERE (metadata -> 'messageStore' -> 'tags') @> jsonb_build_array($1::text) AND global_position + 0 > $2
