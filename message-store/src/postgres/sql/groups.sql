SELECT DISTINCT group_name FROM message_store.group_slots ORDER BY group_name
