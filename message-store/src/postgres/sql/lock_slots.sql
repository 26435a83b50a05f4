SELECT number, epoch, saves FROM message_store.group_slots WHERE group_name = $1 ORDER BY number FOR UPDATE
