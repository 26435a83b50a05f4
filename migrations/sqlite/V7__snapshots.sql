-- Snapshots: a cache of the states of entities. The content is JSON, kept to the letter. Times are microseconds since 1970, UTC.
CREATE TABLE snapshots (
  stream_name TEXT NOT NULL,
  projection TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  position INTEGER NOT NULL,
  content TEXT NOT NULL,
  saved_at INTEGER NOT NULL,
  PRIMARY KEY (stream_name, projection, fingerprint)
) STRICT;
