SELECT max(version) FROM schema_history
