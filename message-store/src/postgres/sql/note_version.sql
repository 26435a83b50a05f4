INSERT INTO message_store.schema_history (version, name, checksum) VALUES ($1, $2, $3)
