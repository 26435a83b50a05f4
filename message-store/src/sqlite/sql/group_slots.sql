-- The slots of a group. A slot whose owner has no lease at the time ?2 has none, from the end of the lease on.
SELECT s.number, CASE WHEN m.lease_until > ?2 THEN s.owner END, s.epoch, s.progress, s.saves,
  CASE WHEN m.lease_until <= ?2 THEN max(m.lease_until, s.changed_at) ELSE s.changed_at END, s.saved_at
FROM group_slots s
LEFT JOIN group_members m ON m.group_name = s.group_name AND m.id = s.owner
WHERE s.group_name = ?1
ORDER BY s.number
