SELECT stream_name, position, global_position
FROM messages
WHERE id = ?1 AND metadata ->> '$.messageStore.handler' = ?2
