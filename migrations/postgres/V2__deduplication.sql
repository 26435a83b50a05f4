-- De-duplication with a window: keys of what came from outside, with what was answered.
--
-- Key, messages and answer are written in one transaction, or none is: there is no state in between that a crash could leave
-- behind. Whether a key has expired is asked by the statement that takes it, by this database's clock; sweeping is nothing
-- but garbage collection.

CREATE TABLE message_store.deduplication (
  scope text NOT NULL,
  key text NOT NULL,
  taken_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  fingerprint text NOT NULL,
  result jsonb,
  PRIMARY KEY (scope, key)
);

CREATE INDEX deduplication_expires_at ON message_store.deduplication (expires_at);

-- Which caller works on a key, and until when at the latest. A lease saves work and decides nothing: it may be lost, so it is not logged.
CREATE UNLOGGED TABLE message_store.key_leases (
  scope text NOT NULL,
  key text NOT NULL,
  owner uuid NOT NULL,
  ends_at timestamptz NOT NULL,
  PRIMARY KEY (scope, key)
);
