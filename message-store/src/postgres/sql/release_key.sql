SELECT message_store.release_key($1, $2, $3)
