-- The timers that are due by ?1, behind the place (?2, ?3, ?4) of the list, with streams of the category ?5.
SELECT stream, name, due_at, to_stream, id, type, data, metadata FROM timers
WHERE due_at <= ?1 AND (due_at, stream, name) > (?2, ?3, ?4) AND (?5 IS NULL OR category = ?5)
ORDER BY due_at, stream, name
LIMIT ?6
