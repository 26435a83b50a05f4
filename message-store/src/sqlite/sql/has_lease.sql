SELECT EXISTS (SELECT 1 FROM group_members WHERE group_name = ?1 AND id = ?2 AND lease_until > ?3)
