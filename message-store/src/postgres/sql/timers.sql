-- The timers that are due within $1 seconds, behind the place ($2, $3, $4) of the list, with streams of the category $5.
SELECT t.stream, t.name, t.due_at, (extract(epoch FROM t.due_at - now()) * 1000000)::bigint,
  t.to_stream, t.id, t.type, t.data::text, t.metadata::text
FROM message_store.timers t
WHERE t.due_at <= coalesce(now() + $1::float8 * interval '1 second', 'infinity'::timestamptz)
  AND (t.due_at, t.stream, t.name) > (coalesce($2::timestamptz, '-infinity'::timestamptz), $3::text, $4::text)
  AND ($5::text IS NULL OR message_store.category(t.stream) = $5)
ORDER BY t.due_at, t.stream, t.name
LIMIT $6
