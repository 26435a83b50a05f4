-- Whether the message with this id is there.
SELECT EXISTS (SELECT FROM message_store.messages WHERE id = '{id}') AS is_there
