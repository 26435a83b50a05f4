-- The bytes between $1, an end of the primary's log, and what this standby has carried out.
SELECT greatest(pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn()), 0)::bigint
