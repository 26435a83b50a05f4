SELECT message_store.sweep($1)
