DELETE FROM timers WHERE stream = ?1 AND name = ?2
