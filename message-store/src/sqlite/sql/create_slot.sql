INSERT INTO group_slots (group_name, number, progress, changed_at) VALUES (?1, ?2, ?3, ?4)
