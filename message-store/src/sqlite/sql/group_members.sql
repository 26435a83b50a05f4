SELECT name, id, lease_until, wants_slots FROM group_members WHERE group_name = ?1 AND lease_until > ?2 ORDER BY name
