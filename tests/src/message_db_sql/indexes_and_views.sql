CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);
CREATE INDEX messages_category ON messages (category(stream_name), global_position, category(metadata ->> 'correlationStreamName'));

CREATE VIEW stream_summary AS
  SELECT stream_name, count(id) AS message_count, round(count(id)::decimal * 100 / sum(count(id)) OVER (), 2) AS percent
  FROM messages GROUP BY stream_name ORDER BY stream_name;
