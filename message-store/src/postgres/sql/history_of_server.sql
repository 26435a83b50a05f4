-- The server's system identifier, and its timeline: another one after a failover or a recovery to an earlier point.
-- (On a primary the control file names a new timeline only after a checkpoint; the log's current file names it at once.)
SELECT
  (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
  CASE
    WHEN pg_is_in_recovery() THEN (SELECT lpad(to_hex(timeline_id), 8, '0') FROM pg_control_checkpoint())
    ELSE lower(left(pg_walfile_name(pg_current_wal_lsn()), 8))
  END AS timeline
