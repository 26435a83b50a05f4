SELECT message_store.append_message($1, $2, $3, $4, $5, $6, $7)
