-- The snapshots of the stream of the message ?1.
DELETE FROM snapshots WHERE stream_name IN (SELECT stream_name FROM all_messages WHERE id = ?1)
