-- A category in the order of global positions. Looks at $3 rows at most, and at none after $4 bytes are passed; returns
-- those that pass the filters ($5 correlation category, $6 group member of $7, $8 types), and, marked, the last looked at.
-- (Why the category is a range: see get_category_messages.)
WITH looked_at AS (
  SELECT id, stream_name, type, position, global_position, data, metadata, time,
    ($5::varchar IS NULL OR message_store.category(correlation) = $5)
    AND ($7::bigint IS NULL
      OR mod(abs(message_store.hash_64(message_store.cardinal_id(stream_name))), $7) = $6::bigint)
    AND ($8::text[] IS NULL OR type = ANY ($8)) AS passes
  FROM (
    SELECT *, sum(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))
      OVER (ORDER BY global_position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM (
      SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time,
        metadata ->> 'correlationStreamName' AS correlation
      FROM message_store.messages
      WHERE (message_store.category(stream_name), global_position) >= ($1, $2) AND message_store.category(stream_name) <= $1
      ORDER BY message_store.category(stream_name), global_position
      LIMIT $3
    ) AS rows
  ) AS measured
  WHERE coalesce(bytes_before, 0) < $4
)
SELECT id, stream_name, type, position, global_position, data, metadata, time, coalesce(passes, false) AS passes
FROM looked_at
WHERE passes OR global_position = (SELECT max(global_position) FROM looked_at)
ORDER BY global_position
