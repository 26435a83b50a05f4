SELECT max(version) FROM message_store.schema_history
