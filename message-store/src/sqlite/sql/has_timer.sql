SELECT EXISTS (SELECT 1 FROM timers WHERE stream = ?1 AND name = ?2)
