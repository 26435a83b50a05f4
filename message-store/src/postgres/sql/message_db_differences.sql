-- The differences between the table and Message DB's: columns by name, type and nullability; keys by their columns.
WITH expected (name, type, required) AS (
  VALUES
    ('global_position', 'bigint', true),
    ('position', 'bigint', true),
    ('time', 'timestamp without time zone', true),
    ('stream_name', 'text', true),
    ('type', 'text', true),
    ('data', 'jsonb', false),
    ('metadata', 'jsonb', false),
    ('id', 'uuid', true)
),
actual AS (
  SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required
  FROM pg_attribute
  WHERE attrelid = 'message_store.messages'::regclass AND attnum > 0 AND NOT attisdropped
),
keys (columns) AS (
  VALUES ('{global_position}'::text[]), ('{id}'), ('{stream_name,position}')
),
unique_indexes AS (
  SELECT array_agg(a.attname::text ORDER BY k.number) AS columns
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, number)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE i.indrelid = 'message_store.messages'::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  GROUP BY i.indexrelid
)
SELECT format('column %s is missing', e.name)
FROM expected e
WHERE NOT EXISTS (SELECT FROM actual a WHERE a.name = e.name)
UNION ALL
SELECT format('column %s is %s%s, not %s%s', e.name, a.type, CASE WHEN a.required THEN ' not null' ELSE '' END,
  e.type, CASE WHEN e.required THEN ' not null' ELSE '' END)
FROM expected e
JOIN actual a USING (name)
WHERE (a.type, a.required) <> (e.type, e.required)
UNION ALL
SELECT format('column %s is not Message DB''s', a.name)
FROM actual a
WHERE NOT EXISTS (SELECT FROM expected e WHERE e.name = a.name)
UNION ALL
SELECT format('there is no unique index on (%s)', array_to_string(k.columns, ', '))
FROM keys k
WHERE NOT EXISTS (SELECT FROM unique_indexes u WHERE u.columns = k.columns)
UNION ALL
SELECT 'global_position is not drawn from message_store.messages_global_position_seq'
WHERE pg_get_serial_sequence('message_store.messages', 'global_position')
  IS DISTINCT FROM 'message_store.messages_global_position_seq'
