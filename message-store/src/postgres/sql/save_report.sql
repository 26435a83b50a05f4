-- Keeps the report $2 of the service $1, and forgets services that have not reported for a day.
WITH forgotten AS (
  DELETE FROM message_store.service_reports WHERE reported_at < clock_timestamp() - interval '1 day' AND id <> $1
)
INSERT INTO message_store.service_reports AS r (id, started_at, reported_at, report)
VALUES ($1, clock_timestamp(), clock_timestamp(), $2::text::jsonb)
ON CONFLICT (id) DO UPDATE SET reported_at = excluded.reported_at, report = excluded.report
