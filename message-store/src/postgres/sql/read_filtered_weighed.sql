-- The frame of the weighed reads with a filter (passes.sql). Looks at no more than $3 rows, and at none after the passing
-- rows have reached a weight of $8 (read_weighed.sql). Returns the rows that pass, and the last row that was looked at.
-- If that row does not pass, its id is NULL.
WITH rows_looked_at AS (
  SELECT *
  FROM (
    SELECT *, sum(own_weight) OVER so_far AS weight, row_number() OVER so_far AS looked_at
    FROM (
      SELECT *, CASE
        WHEN passes THEN least(coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(metadata), 0), 16777216)
          * CASE WHEN coalesce(pg_column_compression(data), pg_column_compression(metadata)) IS NULL THEN 1 ELSE 100 END
        ELSE 0
      END AS own_weight
      FROM (
        SELECT id, stream_name, type, position, global_position, data, metadata, time, {passes} AS passes
        FROM {messages}
        {scope}
        LIMIT $3
      ) AS rows
    ) AS sized
    WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
  ) AS weighed
  WHERE weight - own_weight < $8
)
SELECT CASE WHEN passes THEN id END, stream_name, type, position, global_position, CASE WHEN passes THEN data::text END,
  CASE WHEN passes THEN metadata::text END, time, weight, looked_at
FROM rows_looked_at
WHERE passes OR global_position = (SELECT max(global_position) FROM rows_looked_at)
