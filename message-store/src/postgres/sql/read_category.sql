-- A category in the order of global positions. At most $3 rows, and no row after $4 bytes are passed.
-- (Why the category is a range: see get_category_messages.)
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM (
  SELECT *, sum(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))
    OVER (ORDER BY category, global_position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
  FROM (
    SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time,
      message_store.category(stream_name) AS category
    FROM message_store.messages
    WHERE (message_store.category(stream_name), global_position) >= ($1, $2) AND message_store.category(stream_name) <= $1
    ORDER BY message_store.category(stream_name), global_position
    LIMIT $3
  ) AS rows
) AS measured
WHERE coalesce(bytes_before, 0) < $4
ORDER BY category, global_position
