-- What running services report, one row each. A service reports again soon, so the rows may be lost and are not logged.
CREATE UNLOGGED TABLE message_store.service_reports (
  id uuid PRIMARY KEY,
  started_at timestamptz NOT NULL,
  reported_at timestamptz NOT NULL,
  report jsonb NOT NULL
) WITH (fillfactor = 50);
