-- Keeps the report $2 of the service $1, and forgets services that have not reported for a day. The clock is read once, so that the
-- first report of a service has one time.
WITH clock AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), forgotten AS (
  DELETE FROM message_store.service_reports USING clock WHERE reported_at < now - interval '1 day' AND id <> $1
)
INSERT INTO message_store.service_reports AS r (id, started_at, reported_at, report)
SELECT $1, now, now, $2::text::jsonb FROM clock
ON CONFLICT (id) DO UPDATE SET reported_at = excluded.reported_at, report = excluded.report
