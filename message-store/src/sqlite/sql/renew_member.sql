INSERT INTO group_members (group_name, name, id, lease_until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (group_name, name) DO UPDATE SET id = excluded.id, lease_until = excluded.lease_until
WHERE id = excluded.id OR lease_until <= ?5
