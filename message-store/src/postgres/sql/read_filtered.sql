-- The frame of the filtered reads (see read.sql). Looks at no more than $3 rows, and at none after the passing rows
-- have reached a weight of $4. Returns the rows that pass the filters ($5 correlation category, $6 group member of $7,
-- $8 types), and the last row that was looked at. The column passes tells the two apart.
WITH looked_at AS (
  SELECT *
  FROM (
    SELECT *, sum(own_weight) OVER (ROWS UNBOUNDED PRECEDING) AS weight
    FROM (
      SELECT *, CASE
        WHEN passes THEN least(coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(metadata), 0), 16777216)
          * CASE WHEN coalesce(pg_column_compression(data), pg_column_compression(metadata)) IS NULL THEN 1 ELSE 100 END
        ELSE 0
      END AS own_weight
      FROM (
        SELECT id, stream_name, type, position, global_position, data, metadata, time,
          coalesce(
            ($8::text[] IS NULL OR type = ANY ($8))
            AND ($7::bigint IS NULL
              OR mod(abs(message_store.hash_64(message_store.cardinal_id(stream_name))), $7) = $6::bigint)
            AND ($5::text IS NULL OR message_store.category(metadata ->> 'correlationStreamName')::text = $5::text),
            false
          ) AS passes
        FROM message_store.messages
        {scope}
        LIMIT $3
      ) AS rows
    ) AS sized
  ) AS weighed
  WHERE weight - own_weight < $4
)
SELECT id, stream_name, type, position, global_position, CASE WHEN passes THEN data::text END, CASE WHEN passes THEN metadata::text END,
  time, weight, passes
FROM looked_at
WHERE passes OR global_position = (SELECT max(global_position) FROM looked_at)
