-- Ends the session of a connection that went silent within a transaction, whose locks would stay.
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE pid = $1 AND usename = current_user AND state LIKE 'idle in transaction%'
