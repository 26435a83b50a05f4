-- The last report of each service, the latest first, and the seconds since then.
SELECT id, started_at, reported_at, extract(epoch FROM clock_timestamp() - reported_at)::float8, report::text
FROM message_store.service_reports
ORDER BY reported_at DESC, id
