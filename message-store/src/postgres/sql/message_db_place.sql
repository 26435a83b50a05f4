SELECT position, global_position FROM message_store.messages WHERE id = $1
