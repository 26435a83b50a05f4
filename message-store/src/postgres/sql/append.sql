SELECT message_position, message_global_position, already_written
FROM message_store.append_messages($1, $2, $3, $4, $5, $6, $7)
