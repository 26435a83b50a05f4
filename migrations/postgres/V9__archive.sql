-- The archive: messages that all consumers have handled, in a table of their own, so that the table of messages stays small.
--
-- The archive inherits from the table of messages. So `FROM message_store.messages` reads both, for every reader and with the rights
-- on the table of messages, and `FROM ONLY message_store.messages` reads the table alone. A statement sees each message once, because
-- one transaction takes it from the one and writes it to the other.
--
-- A message keeps its id and its positions. The last message of each stream is never moved: the version of a stream is in the table of
-- messages. So an append asks the archive for nothing but whether an id is taken.
CREATE TABLE message_store.archived_messages (
  CONSTRAINT archived_messages_pkey PRIMARY KEY (global_position)
) INHERITS (message_store.messages);

-- Indexes are not inherited. These are those of the table of messages.
CREATE UNIQUE INDEX archived_messages_id ON message_store.archived_messages (id);
CREATE UNIQUE INDEX archived_messages_stream ON message_store.archived_messages (stream_name, position);
CREATE INDEX archived_messages_category ON message_store.archived_messages (
  message_store.category(stream_name),
  global_position,
  message_store.category(metadata ->> 'correlationStreamName')
);

-- The journal of the archive. The transaction that moves messages saves the progress of its run.
CREATE TABLE message_store.archive_runs (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  category text COLLATE "C" NOT NULL,
  -- The run moves messages up to this global position.
  through bigint NOT NULL,
  looked_through bigint NOT NULL DEFAULT 0,
  moved bigint NOT NULL DEFAULT 0,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz
);

-- One run of a category at a time.
CREATE UNIQUE INDEX archive_runs_open ON message_store.archive_runs (category) WHERE ended_at IS NULL;

-- The journal of erasures: what was erased, and when. The transaction that erases messages saves the progress of its run.
CREATE TABLE message_store.erasure_runs (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- 'stream' or 'entity', and its name.
  kind text NOT NULL,
  name text COLLATE "C" NOT NULL,
  looked_through bigint NOT NULL DEFAULT 0,
  erased bigint NOT NULL DEFAULT 0,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz
);

-- One run of a target at a time.
CREATE UNIQUE INDEX erasure_runs_open ON message_store.erasure_runs (kind, name) WHERE ended_at IS NULL;
