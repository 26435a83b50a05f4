UPDATE message_store.view_positions SET global_position = $2 WHERE view = $1
