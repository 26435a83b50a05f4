-- The message store. With AUTOINCREMENT, the global position of a message is never given out again, even when the message is deleted.
-- The category is a column, although it follows from the stream name, so that every tool that opens the file can use its index.
CREATE TABLE messages (
  global_position INTEGER PRIMARY KEY AUTOINCREMENT,
  position INTEGER NOT NULL,
  -- Microseconds since 1970, UTC.
  time INTEGER NOT NULL,
  stream_name TEXT NOT NULL,
  category TEXT NOT NULL,
  type TEXT NOT NULL,
  -- JSON texts.
  data TEXT,
  metadata TEXT,
  -- 16 bytes.
  id BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);
CREATE INDEX messages_category ON messages (category, global_position);

-- One row: the identity of the store, which qualifies its global positions. 16 bytes.
CREATE TABLE store_identity (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  store_id BLOB NOT NULL
) STRICT;

INSERT INTO store_identity (only_row, store_id) VALUES (1, randomblob(16));
