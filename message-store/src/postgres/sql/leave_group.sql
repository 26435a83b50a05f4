WITH gone AS (
  DELETE FROM message_store.group_members WHERE group_name = $1 AND id = $2
),
owned AS (
  SELECT number FROM message_store.group_slots WHERE group_name = $1 AND owner = $2 ORDER BY number FOR UPDATE
)
UPDATE message_store.group_slots s SET owner = NULL, changed_at = clock_timestamp()
FROM owned
WHERE s.group_name = $1 AND s.number = owned.number AND s.owner = $2
