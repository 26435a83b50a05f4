-- The server's system identifier and timeline. The timeline changes with a failover and with a recovery to an earlier
-- point. On a primary, the control file names a new timeline only after a checkpoint, but the name of the current WAL
-- file contains it at once.
SELECT
  pg_is_in_recovery() AS is_standby,
  (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
  CASE
    WHEN pg_is_in_recovery() THEN (SELECT lpad(to_hex(timeline_id), 8, '0') FROM pg_control_checkpoint())
    ELSE lower(left(pg_walfile_name(pg_current_wal_lsn()), 8))
  END AS timeline
