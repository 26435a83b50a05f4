UPDATE message_store.store_identity SET store_id = $1
