DELETE FROM group_members WHERE group_name = ?1 AND id = ?2
