SELECT name, global_position FROM message_store.read_models ORDER BY name
