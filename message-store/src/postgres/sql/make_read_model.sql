INSERT INTO message_store.read_models (name, global_position) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING
