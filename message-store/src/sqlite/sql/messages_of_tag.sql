-- The messages with the tag ?1 after the global position ?2, at most ?3, in the table of messages and in the archive. (The primary key begins
-- with the category, so each category is searched.)
SELECT m.id, m.stream_name, m.type, m.position, m.global_position, m.data, m.metadata, m.time
FROM message_tags AS t
CROSS JOIN all_messages AS m ON m.global_position = t.global_position
WHERE t.tag = ?1   AND CASE WHEN json_valid(m.metadata) THEN json_type(m.metadata, '$.messageStore.tags') END = 'array' AND t.global_position > ?2
ORDER BY t.global_position
LIMIT ?3
