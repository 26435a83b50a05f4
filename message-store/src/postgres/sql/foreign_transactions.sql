-- Transactions that have been open for more than $1 seconds and keep others waiting: they have written to a table of the store, have
-- drawn positions, or have an advisory lock for which another session waits.
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type), coalesce(a.usename, ''), coalesce(a.state, ''),
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8, left(coalesce(a.query, ''), 200)
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.xact_start < clock_timestamp() - make_interval(secs => $1)
  AND EXISTS (
    SELECT FROM pg_locks l
    WHERE l.pid = a.pid AND l.granted AND (
      (l.relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('message_store')) AND l.mode <> 'AccessShareLock')
      OR l.classid = 'pg_proc'::regclass
      OR (l.locktype = 'advisory' AND EXISTS (
        SELECT FROM pg_locks w
        WHERE w.locktype = 'advisory' AND NOT w.granted AND w.database = l.database
          AND (w.classid, w.objid, w.objsubid) = (l.classid, l.objid, l.objsubid)
      ))
    )
  )
ORDER BY a.xact_start
LIMIT 5
