SELECT message_store.horizon()
