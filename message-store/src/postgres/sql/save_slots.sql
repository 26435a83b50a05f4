-- Saves the slots $3 that the member $2 owns in the epochs $4, while it has a lease.
WITH owned AS (
  SELECT s.number, saved.progress, saved.is_release
  FROM message_store.group_slots s
  JOIN unnest($3::int[], $4::bigint[], $5::text[], $6::bool[]) AS saved (number, epoch, progress, is_release)
    ON saved.number = s.number AND saved.epoch = s.epoch
  WHERE s.group_name = $1 AND s.owner = $2
    AND EXISTS (
      SELECT FROM message_store.group_members m
      WHERE m.group_name = s.group_name AND m.id = s.owner AND m.lease_until > clock_timestamp()
    )
  ORDER BY s.number
  FOR UPDATE OF s
)
UPDATE message_store.group_slots s
SET progress = coalesce(owned.progress::jsonb, s.progress),
  saves = s.saves + (owned.progress IS NOT NULL)::int,
  saved_at = CASE WHEN owned.progress IS NULL THEN s.saved_at ELSE clock_timestamp() END,
  owner = CASE WHEN owned.is_release THEN NULL ELSE s.owner END,
  changed_at = CASE WHEN owned.is_release THEN clock_timestamp() ELSE s.changed_at END
FROM owned
WHERE s.group_name = $1 AND s.number = owned.number
RETURNING s.number
