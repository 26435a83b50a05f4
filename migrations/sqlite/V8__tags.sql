-- The tags of messages, as an index: conditions and queries find messages by them. The metadata has the tags, and this follows from it.
--
-- A trigger adds the rows, so that each program that writes to the file keeps the index. It may add more than the message has (JSON may
-- have two equal keys): a search compares what it finds with the metadata.
CREATE TABLE message_tags (
  category TEXT NOT NULL,
  tag TEXT NOT NULL,
  global_position INTEGER NOT NULL,
  PRIMARY KEY (category, tag, global_position)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER messages_tags AFTER INSERT ON messages
-- (Most messages have no tags, and need not be parsed.)
WHEN instr(new.metadata, '"tags"') > 0 AND json_valid(new.metadata)
BEGIN
  INSERT OR IGNORE INTO message_tags (category, tag, global_position)
  SELECT new.category, t.atom, new.global_position
  FROM json_tree(new.metadata) AS t
  WHERE t.path = '$.messageStore.tags' AND t.type = 'text';
END;

-- (A message that moves to the archive keeps its tags.)
CREATE TRIGGER messages_tags_deleted AFTER DELETE ON messages
WHEN instr(old.metadata, '"tags"') > 0 AND NOT EXISTS (SELECT 1 FROM archived_messages WHERE global_position = old.global_position)
BEGIN
  DELETE FROM message_tags
  WHERE category = old.category AND global_position = old.global_position
    AND tag IN (SELECT t.atom FROM json_tree(CASE WHEN json_valid(old.metadata) THEN old.metadata END) AS t WHERE t.type = 'text');
END;

INSERT OR IGNORE INTO message_tags (category, tag, global_position)
SELECT m.category, t.atom, m.global_position
FROM messages AS m, json_tree(CASE WHEN json_valid(m.metadata) THEN m.metadata END) AS t
WHERE instr(m.metadata, '"tags"') > 0 AND t.path = '$.messageStore.tags' AND t.type = 'text';
