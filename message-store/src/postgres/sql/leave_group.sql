WITH gone AS (
  DELETE FROM message_store.group_members WHERE group_name = $1 AND id = $2
)
UPDATE message_store.group_slots SET owner = NULL, changed_at = clock_timestamp()
WHERE group_name = $1 AND owner = $2
