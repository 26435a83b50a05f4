-- The next messages of category ?1 after the position ?2, up to the position ?3, and whether their streams have others after them.
SELECT m.global_position, EXISTS (SELECT 1 FROM messages l WHERE l.stream_name = m.stream_name AND l.position > m.position)
FROM messages m
WHERE m.category = ?1 AND m.global_position > ?2 AND m.global_position <= ?3
ORDER BY m.global_position
LIMIT ?4
