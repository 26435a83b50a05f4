-- ?10: replace, keepDue or keep. No row changes if a timer of this id waits.
INSERT INTO timers AS t (stream, category, name, due_at, to_stream, id, type, data, metadata)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (stream, name) DO UPDATE SET
  due_at = CASE ?10 WHEN 'keepDue' THEN t.due_at ELSE excluded.due_at END,
  to_stream = excluded.to_stream, id = excluded.id, type = excluded.type, data = excluded.data, metadata = excluded.metadata
WHERE t.id <> excluded.id AND ?10 <> 'keep'
