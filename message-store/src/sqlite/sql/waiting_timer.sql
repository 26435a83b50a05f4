SELECT stream, name, due_at, to_stream, id, type, data, metadata FROM timers
WHERE stream = ?1 AND name = ?2 AND id = ?3 AND due_at = ?4
