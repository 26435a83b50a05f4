-- Inserts messages until the table has :rows, and measures reads of 1000. See category-reads.
INSERT INTO message_store.messages (stream_name, position, type, data, metadata)
SELECT
  CASE WHEN n % 2 = 0 THEN 'account-' || (n / 2 % 5000) ELSE 'other' || (n % 50) || '-' || (n / 2 % 5000) END,
  n,
  'Deposited',
  jsonb_build_object('depositId', n, 'accountId', n % 5000, 'amount', 7.5, 'time', '2026-01-01T00:00:00Z'),
  jsonb_build_object('correlationStreamName', 'transfer-' || n % 100)
FROM generate_series((SELECT count(*) + 1 FROM message_store.messages), :rows) AS n;
VACUUM ANALYZE message_store.messages;

CREATE TEMP TABLE timing (kind text, ms float8);

CREATE FUNCTION pg_temp.plain(first bigint, row_limit bigint) RETURNS SETOF message_store.message LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
    SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position, data::varchar, metadata::varchar, time
    FROM message_store.messages
    WHERE message_store.category(stream_name) = 'account' AND global_position >= first
    ORDER BY global_position
    LIMIT row_limit;
END $$;

DO $$
DECLARE
  last bigint := (SELECT max(global_position) FROM message_store.messages);
  first bigint;
  began timestamptz;
  returned bigint;
BEGIN
  FOR round IN 1 .. 60 LOOP
    first := 1 + ((last - 8500) * random())::bigint;

    began := clock_timestamp();
    SELECT count(*) INTO returned FROM pg_temp.plain(first, 1000);
    INSERT INTO timing VALUES ('1 plain index range scan', extract(epoch FROM clock_timestamp() - began) * 1000);
    ASSERT returned = 1000, format('plain: %s', returned);

    began := clock_timestamp();
    SELECT count(*) INTO returned FROM message_store.get_category_messages('account', first, 1000);
    INSERT INTO timing VALUES ('2 get_category_messages', extract(epoch FROM clock_timestamp() - began) * 1000);
    ASSERT returned = 1000, format('category: %s', returned);

    began := clock_timestamp();
    SELECT count(*) INTO returned FROM message_store.get_category_messages('account', first, 1000, 'transfer');
    INSERT INTO timing VALUES ('3 the same, correlated', extract(epoch FROM clock_timestamp() - began) * 1000);

    -- The rows that a member of 4 has to look at for 1000 of its own.
    began := clock_timestamp();
    SELECT count(*) INTO returned FROM pg_temp.plain(first, 4000);
    INSERT INTO timing VALUES ('4 plain scan of 4000', extract(epoch FROM clock_timestamp() - began) * 1000);

    began := clock_timestamp();
    SELECT count(*) INTO returned FROM message_store.get_category_messages('account', first, 1000, NULL, 0, 4);
    INSERT INTO timing VALUES ('5 member 0 of 4', extract(epoch FROM clock_timestamp() - began) * 1000);
  END LOOP;
END $$;

WITH median AS (
  SELECT kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM timing GROUP BY kind
)
SELECT :rows, substr(kind, 3), round(ms::numeric, 2),
  round((ms / (SELECT ms FROM median WHERE kind = CASE WHEN m.kind LIKE '5%' THEN '4 plain scan of 4000' ELSE '1 plain index range scan' END))::numeric, 2),
  CASE WHEN kind LIKE '5%' THEN '4 (each message looked at, once)' ELSE '0' END
FROM median m
ORDER BY kind;
