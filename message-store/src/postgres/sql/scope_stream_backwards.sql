-- A stream towards lower positions.
WHERE stream_name = $1 AND position <= $2
ORDER BY position DESC
