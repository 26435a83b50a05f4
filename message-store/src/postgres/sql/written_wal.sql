-- The end of what the primary has written to its log.
SELECT pg_current_wal_lsn()::text
