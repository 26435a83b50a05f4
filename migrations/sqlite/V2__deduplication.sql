-- De-duplication with a window: the keys of external requests, with their answers. The transaction that appends the messages
-- writes them. Times are microseconds since 1970, UTC.
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
