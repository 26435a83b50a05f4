SELECT DISTINCT group_name FROM group_slots ORDER BY group_name
