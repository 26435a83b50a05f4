-- Timers: messages that are written when they are due. A row is removed in the transaction that writes its message.
CREATE TABLE message_store.timers (
  stream text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  due_at timestamptz NOT NULL,
  to_stream text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  type text NOT NULL,
  data jsonb,
  metadata jsonb,
  changes bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (stream, name)
);

CREATE INDEX timers_due_at ON message_store.timers (due_at, stream, name);
