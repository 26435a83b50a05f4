INSERT INTO message_store.group_members AS m (group_name, name, id, lease_until, wants_slots)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5)
ON CONFLICT (group_name, name) DO UPDATE SET id = excluded.id, lease_until = excluded.lease_until, wants_slots = excluded.wants_slots
WHERE m.id = excluded.id OR m.lease_until <= clock_timestamp()
