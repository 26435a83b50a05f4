-- The slots of a group. A slot whose owner has no lease has none, from the end of the lease on.
SELECT s.number, CASE WHEN m.lease_until > clock_timestamp() THEN s.owner END, s.epoch, s.progress::text, s.saves,
  extract(epoch FROM clock_timestamp()
    - CASE WHEN m.lease_until <= clock_timestamp() THEN greatest(m.lease_until, s.changed_at) ELSE s.changed_at END)::float8,
  s.saved_at
FROM message_store.group_slots s
LEFT JOIN message_store.group_members m ON m.group_name = s.group_name AND m.id = s.owner
WHERE s.group_name = $1
ORDER BY s.number
