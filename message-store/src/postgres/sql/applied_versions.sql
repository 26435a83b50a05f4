SELECT version, checksum FROM message_store.schema_history
