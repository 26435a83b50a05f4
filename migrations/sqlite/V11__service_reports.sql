-- What running services report, one row each. Times are microseconds since 1970, UTC.
CREATE TABLE service_reports (
  -- 16 bytes.
  id BLOB PRIMARY KEY,
  started_at INTEGER NOT NULL,
  reported_at INTEGER NOT NULL,
  report TEXT NOT NULL
) STRICT, WITHOUT ROWID;
