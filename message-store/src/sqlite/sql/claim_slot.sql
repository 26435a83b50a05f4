UPDATE group_slots SET owner = ?3, epoch = epoch + 1, changed_at = ?4 WHERE group_name = ?1 AND number = ?2
