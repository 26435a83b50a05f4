SELECT message_store.acquire_lock($1)
