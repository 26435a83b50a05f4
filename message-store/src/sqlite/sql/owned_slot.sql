SELECT 1 FROM group_slots WHERE group_name = ?1 AND number = ?2 AND epoch = ?3 AND owner = ?4
