-- The archive: messages that all consumers have handled, in a table of their own, so that the table of messages stays small.
--
-- A message keeps its id and its positions. The last message of each stream is never moved: the version of a stream is in the table of
-- messages. So an append asks the archive for nothing but whether an id is taken.
CREATE TABLE archived_messages (
  global_position INTEGER PRIMARY KEY,
  position INTEGER NOT NULL,
  time INTEGER NOT NULL,
  stream_name TEXT NOT NULL,
  category TEXT NOT NULL,
  type TEXT NOT NULL,
  data TEXT,
  metadata TEXT,
  id BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX archived_messages_id ON archived_messages (id);
CREATE UNIQUE INDEX archived_messages_stream ON archived_messages (stream_name, position);
CREATE INDEX archived_messages_category ON archived_messages (category, global_position);

-- Both tables. A statement sees each message once, because one transaction takes it from the one and writes it to the other.
CREATE VIEW all_messages AS
SELECT id, stream_name, category, type, position, global_position, data, metadata, time FROM messages
UNION ALL
SELECT id, stream_name, category, type, position, global_position, data, metadata, time FROM archived_messages;

-- The journal of the archive. The transaction that moves messages saves the progress of its run. Times are microseconds since 1970, UTC.
CREATE TABLE archive_runs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  category TEXT NOT NULL,
  -- The run moves messages up to this global position.
  through INTEGER NOT NULL,
  looked_through INTEGER NOT NULL DEFAULT 0,
  moved INTEGER NOT NULL DEFAULT 0,
  begun_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;

-- One run of a category at a time.
CREATE UNIQUE INDEX archive_runs_open ON archive_runs (category) WHERE ended_at IS NULL;

-- The journal of erasures: what was erased, and when. The transaction that erases messages saves the progress of its run.
CREATE TABLE erasure_runs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  -- 'stream' or 'entity', and its name.
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  looked_through INTEGER NOT NULL DEFAULT 0,
  erased INTEGER NOT NULL DEFAULT 0,
  begun_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;

-- One run of a target at a time.
CREATE UNIQUE INDEX erasure_runs_open ON erasure_runs (kind, name) WHERE ended_at IS NULL;

-- An erased message has no tags, in the table of messages and in the archive.
CREATE TRIGGER messages_tags_changed AFTER UPDATE OF metadata ON messages
WHEN instr(old.metadata, '"tags"') > 0
BEGIN
  DELETE FROM message_tags
  WHERE category = old.category AND global_position = old.global_position
    AND tag IN (SELECT t.atom FROM json_tree(CASE WHEN json_valid(old.metadata) THEN old.metadata END) AS t WHERE t.type = 'text')
    AND NOT EXISTS (
      SELECT 1 FROM json_tree(CASE WHEN json_valid(new.metadata) THEN new.metadata END) AS n
      WHERE n.path = '$.messageStore.tags' AND n.atom = tag
    );
END;

CREATE TRIGGER archived_messages_tags_changed AFTER UPDATE OF metadata ON archived_messages
WHEN instr(old.metadata, '"tags"') > 0
BEGIN
  DELETE FROM message_tags
  WHERE category = old.category AND global_position = old.global_position
    AND tag IN (SELECT t.atom FROM json_tree(CASE WHEN json_valid(old.metadata) THEN old.metadata END) AS t WHERE t.type = 'text')
    AND NOT EXISTS (
      SELECT 1 FROM json_tree(CASE WHEN json_valid(new.metadata) THEN new.metadata END) AS n
      WHERE n.path = '$.messageStore.tags' AND n.atom = tag
    );
END;
