DELETE FROM messages WHERE global_position = ?1
