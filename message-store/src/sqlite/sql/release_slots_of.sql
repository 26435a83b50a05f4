UPDATE group_slots SET owner = NULL, changed_at = ?3 WHERE group_name = ?1 AND owner = ?2
