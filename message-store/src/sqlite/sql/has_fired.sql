-- Whether the store has the message ?1 in the stream ?2, with the type ?3.
SELECT EXISTS (SELECT 1 FROM all_messages WHERE id = ?1 AND stream_name = ?2 AND type = ?3)
