-- All messages below the horizon $1 in the order of global positions. At most $3 rows, and no row after $4 bytes are passed.
SELECT id, stream_name, type, position, global_position, data, metadata, time
FROM (
  SELECT *, sum(coalesce(octet_length(data), 0) + coalesce(octet_length(metadata), 0))
    OVER (ORDER BY global_position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
  FROM (
    SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
    FROM message_store.messages
    WHERE global_position < $1 AND global_position >= $2
    ORDER BY global_position
    LIMIT $3
  ) AS rows
) AS measured
WHERE coalesce(bytes_before, 0) < $4
ORDER BY global_position
