-- Snapshots: a cache of the states of entities. The content is JSON, kept to the letter, so it is text.
CREATE TABLE message_store.snapshots (
  stream_name text NOT NULL,
  projection text NOT NULL,
  fingerprint text NOT NULL,
  position bigint NOT NULL,
  content text NOT NULL,
  saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (stream_name, projection, fingerprint)
);
