SELECT max(global_position) FROM messages
