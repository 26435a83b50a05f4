UPDATE group_slots
SET progress = ?3, owner = NULL, epoch = epoch + 1, saves = saves + 1, changed_at = ?4, saved_at = ?4
WHERE group_name = ?1 AND number = ?2
