-- De-duplication with a window: the keys of external requests, with their answers.
--
-- One transaction writes key, messages and answer, so a crash leaves no intermediate state. The statement that writes a key
-- checks whether an earlier one has expired, by this database's clock. A sweep only removes expired rows.

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
