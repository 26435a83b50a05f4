INSERT INTO message_store.group_members AS m (group_name, name, id, lease_until)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
ON CONFLICT (group_name, name) DO UPDATE SET id = excluded.id, lease_until = excluded.lease_until
WHERE m.id = excluded.id OR m.lease_until <= clock_timestamp()
