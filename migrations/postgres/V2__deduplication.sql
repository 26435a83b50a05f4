-- De-duplication with a window: the keys of external requests, with their answers.
--
-- One transaction writes key, messages and answer, so a crash leaves no intermediate state. The statement that writes a key
-- checks whether an earlier one has expired, by this database's clock. A sweep only removes expired rows.

CREATE TABLE message_store.deduplication (
  scope text NOT NULL,
  key text NOT NULL,
  seen_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  fingerprint text NOT NULL,
  result jsonb,
  PRIMARY KEY (scope, key)
);

CREATE INDEX deduplication_expires_at ON message_store.deduplication (expires_at);
