UPDATE timers SET id = ?3 WHERE stream = ?1 AND name = ?2
