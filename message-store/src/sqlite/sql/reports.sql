-- The last report of each service, the latest first.
SELECT id, started_at, reported_at, report FROM service_reports ORDER BY reported_at DESC, id
