-- The frame of the plain reads. One of scope_*.sql replaces its placeholder. Returns at most $3 rows, in the order of the
-- scope. The reader counts their bytes as they arrive.
SELECT id, stream_name, type, position, global_position, data::text, metadata::text, time
FROM {messages}
{scope}
LIMIT $3
