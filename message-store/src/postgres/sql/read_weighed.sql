-- The frame of the weighed reads. One of scope_*.sql replaces its placeholder. Returns at most $3 rows, and none after
-- the row that reaches a weight of $4. A weight is an upper bound of a row's bytes that is known without reading the
-- row: its stored size, times 100 if it is compressed. The rows keep the order of the innermost query. looked_at counts
-- the rows so far.
SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time, weight, looked_at
FROM (
  SELECT *, sum(own_weight) OVER so_far AS weight, row_number() OVER so_far AS looked_at
  FROM (
    SELECT id, stream_name, type, position, global_position, data, metadata, time,
      least(coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(metadata), 0), 16777216)
        * CASE WHEN coalesce(pg_column_compression(data), pg_column_compression(metadata)) IS NULL THEN 1 ELSE 100 END AS own_weight
    FROM {messages}
    {scope}
    LIMIT $3
  ) AS rows
  WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
) AS weighed
WHERE weight - own_weight < $4
