SELECT global_position FROM message_store.read_models WHERE name = $1
