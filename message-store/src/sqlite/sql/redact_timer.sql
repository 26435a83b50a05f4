UPDATE timers SET data = ?4, metadata = ?5 WHERE stream = ?1 AND name = ?2 AND id = ?3
