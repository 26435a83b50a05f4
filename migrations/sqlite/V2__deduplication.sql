-- De-duplication with a window: keys of what came from outside, with what was answered. Written in one transaction with the
-- messages. Times are microseconds since 1970, UTC.
CREATE TABLE deduplication (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  result TEXT,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX deduplication_expires_at ON deduplication (expires_at);
