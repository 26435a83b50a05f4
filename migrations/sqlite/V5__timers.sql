-- Timers: messages that are written when they are due. A row is removed in the transaction that writes its message. Times are
-- microseconds since 1970, UTC.
CREATE TABLE timers (
  stream TEXT NOT NULL,
  -- The category of the stream.
  category TEXT NOT NULL,
  name TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  to_stream TEXT NOT NULL,
  -- 16 bytes.
  id BLOB NOT NULL,
  type TEXT NOT NULL,
  data TEXT,
  metadata TEXT,
  PRIMARY KEY (stream, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX timers_due_at ON timers (due_at, stream, name);
