SELECT global_position FROM message_store.view_positions WHERE view = $1 FOR UPDATE
