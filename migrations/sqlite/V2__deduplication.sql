-- De-duplication with a window: the keys of external requests, with their answers. The transaction that appends the messages
-- writes them. Times are microseconds since 1970, UTC.
CREATE TABLE deduplication (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  taken_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  result TEXT,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX deduplication_expires_at ON deduplication (expires_at);

-- Which caller works on a key, and until when at the latest. A lease saves work and decides nothing: it may be lost.
CREATE TABLE key_leases (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  owner BLOB NOT NULL,
  ends_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
