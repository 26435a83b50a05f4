INSERT INTO group_members (group_name, name, id, lease_until, wants_slots) VALUES (?1, ?2, ?3, ?4, ?6)
ON CONFLICT (group_name, name) DO UPDATE SET id = excluded.id, lease_until = excluded.lease_until, wants_slots = excluded.wants_slots
WHERE id = excluded.id OR lease_until <= ?5
