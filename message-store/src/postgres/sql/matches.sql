-- The messages that make the condition $1 fail, at most $2 of them and $3 bytes, after one row for each category of the array $4: the last
-- position of the category, and the number of messages that were found. All come from one view of the database.
WITH found AS (
  SELECT m.*, sum(coalesce(octet_length(m.data::text), 0) + coalesce(octet_length(m.metadata::text), 0)) OVER (ORDER BY m.global_position) AS bytes,
    row_number() OVER (ORDER BY m.global_position) AS number
  FROM unnest(message_store.matching($1, $2)) AS f (position)
  CROSS JOIN LATERAL (SELECT * FROM message_store.messages m WHERE m.global_position = f.position LIMIT 1) AS m
)
SELECT * FROM (
  SELECT NULL::uuid AS id, c.name AS stream_name, NULL::text AS type, (SELECT count(*) FROM found) AS position, (
      SELECT m.global_position
      FROM message_store.messages m
      WHERE (message_store.category(m.stream_name)::text, m.global_position) <= (c.name, 9223372036854775807)
        AND message_store.category(m.stream_name)::text >= c.name
      ORDER BY message_store.category(m.stream_name)::text DESC, m.global_position DESC
      LIMIT 1
    ) AS global_position, NULL::text AS data, NULL::text AS metadata, NULL::timestamp AS time
  FROM unnest($4::text[]) AS c (name)
  UNION ALL
  SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
  FROM found
  WHERE number = 1 OR bytes <= $3
) AS ends_and_messages
ORDER BY id IS NOT NULL, global_position
