-- The oldest three transactions with locks on objects of the schema.
SELECT string_agg(h.holder, '; ' ORDER BY h.since)
FROM (
  SELECT format('process %s (%s), in a transaction since %s', a.pid, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type),
    to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS TZ')) AS holder, a.xact_start AS since
  FROM pg_stat_activity a
  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
    AND EXISTS (
      SELECT FROM pg_locks l
      WHERE l.pid = a.pid AND l.granted AND (
        l.locktype = 'transactionid'
        OR l.relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('message_store'))
        OR l.classid = 'pg_proc'::regclass
      )
    )
  ORDER BY a.xact_start
  LIMIT 3
) AS h
