UPDATE timers SET due_at = ?3 WHERE stream = ?1 AND name = ?2
