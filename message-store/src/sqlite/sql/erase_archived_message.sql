UPDATE archived_messages SET data = ?2, metadata = ?3 WHERE id = ?1
