-- The frame of the plain reads with a filter (passes.sql). Looks at no more than $3 rows, and returns each of them. Of a
-- row that does not pass, it returns only the global position.
SELECT CASE WHEN passes THEN id END, CASE WHEN passes THEN stream_name END, CASE WHEN passes THEN type END,
  CASE WHEN passes THEN position END, global_position, CASE WHEN passes THEN data::text END,
  CASE WHEN passes THEN metadata::text END, CASE WHEN passes THEN time END
FROM (
  SELECT *, {passes} AS passes
  FROM {messages}
  {scope}
  LIMIT $3
) AS looked_at
