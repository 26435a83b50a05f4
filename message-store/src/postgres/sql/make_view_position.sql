INSERT INTO message_store.view_positions (view, global_position) VALUES ($1, 0) ON CONFLICT (view) DO NOTHING
