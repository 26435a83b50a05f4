UPDATE group_slots
SET progress = coalesce(?5, progress),
  saves = saves + (?5 IS NOT NULL),
  saved_at = CASE WHEN ?5 IS NULL THEN saved_at ELSE ?7 END,
  owner = CASE WHEN ?6 THEN NULL ELSE owner END,
  changed_at = CASE WHEN ?6 THEN ?7 ELSE changed_at END
WHERE group_name = ?1 AND number = ?2 AND epoch = ?3 AND owner = ?4
