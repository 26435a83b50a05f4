-- Claims the slots $3 that are still in the epochs $4. A slot that another transaction has locked is passed over, so the
-- claim never waits.
WITH free AS (
  SELECT s.number
  FROM message_store.group_slots s
  JOIN unnest($3::int[], $4::bigint[]) AS wanted (number, epoch) ON wanted.number = s.number AND wanted.epoch = s.epoch
  WHERE s.group_name = $1
    AND NOT EXISTS (
      SELECT FROM message_store.group_members m
      WHERE m.group_name = s.group_name AND m.id = s.owner AND m.lease_until > clock_timestamp()
    )
    AND EXISTS (
      SELECT FROM message_store.group_members m
      WHERE m.group_name = s.group_name AND m.id = $2 AND m.lease_until > clock_timestamp()
    )
  ORDER BY s.number
  FOR UPDATE OF s SKIP LOCKED
)
UPDATE message_store.group_slots s
SET owner = $2, epoch = s.epoch + 1, changed_at = clock_timestamp()
FROM free
WHERE s.group_name = $1 AND s.number = free.number
RETURNING s.number, s.owner, s.epoch, s.progress::text, s.saves, 0::float8, s.saved_at
