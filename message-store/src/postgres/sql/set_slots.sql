UPDATE message_store.group_slots s
SET progress = changed.progress::jsonb, owner = NULL, epoch = s.epoch + 1, saves = s.saves + 1,
  changed_at = clock_timestamp(), saved_at = clock_timestamp()
FROM unnest($2::int[], $3::text[]) AS changed (number, progress)
WHERE s.group_name = $1 AND s.number = changed.number
