-- Appending to several streams in one step, and reading all messages without passing one that is not committed yet.
--
-- Problem: positions are drawn before commit, so a reader can see a higher one while a lower one is still in flight.
-- For readers of a category: its writers hold a lock from before they draw positions until they have committed, so
-- positions of a category become visible in their order. It is Message DB's own lock, so its writers are bound by it too.
-- For readers of all messages: a writer publishes a lower bound of the positions it will draw, as a shared advisory lock
-- that ends with its transaction. The reader notes the last position drawn, then the lowest bound published, then reads
-- below both. A position it must not miss was drawn by a writer whose bound was published before: either the bound still
-- stands, and the reader stops below it, or the writer has ended, and a later statement sees what it wrote.

-- Takes the locks of the categories of some streams, always in the same order, so that two appends never wait for each other.
CREATE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  lock_key bigint;
BEGIN
  FOR lock_key IN
    SELECT DISTINCT message_store.hash_64(message_store.category(stream_name))
    FROM unnest(stream_names) AS stream_name
    ORDER BY 1
  LOOP
    PERFORM pg_advisory_xact_lock(lock_key);
  END LOOP;
END $$;

-- Advisory locks with two numbers are a space of their own, apart from Message DB's. A bound is 52 bits wide: the first
-- number is a mark of ours and the high 20 bits, the second the low 32.
CREATE FUNCTION message_store.publish_lower_bound() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  bound bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO bound
  FROM message_store.messages_global_position_seq;
  PERFORM pg_advisory_xact_lock_shared(
    (x'35500000'::int | (bound >> 32)::int),
    ('x' || lpad(to_hex(bound & 4294967295), 8, '0'))::bit(32)::int
  );
END $$;

-- The first global position that is not safe to read yet.
CREATE FUNCTION message_store.horizon() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  next_position bigint;
  lowest_bound bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO next_position
  FROM message_store.messages_global_position_seq;

  SELECT min(((classid::bigint & x'fffff'::bigint) << 32) | objid::bigint) INTO lowest_bound
  FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint >> 20) = x'355'::bigint;

  RETURN least(next_position, lowest_bound);
END $$;

-- Appends messages to streams, all or none.
--
-- Streams: one element each in stream_names and expected_versions (NULL any, -1 no stream).
-- Messages: one element each in stream_numbers (1-based place of its stream), ids, types, data_texts, metadata_texts.
-- Returns one row per message, in the order given.
-- Errors: P0001 with Message DB's text (detail: JSON with stream, expected, actual); MS001 for a message id that is taken
-- (detail: JSON with id, stream, reason).
CREATE FUNCTION message_store.append_messages(
  stream_names text[],
  expected_versions bigint[],
  stream_numbers int[],
  ids uuid[],
  types text[],
  data_texts text[],
  metadata_texts text[]
) RETURNS TABLE (message_position bigint, message_global_position bigint, already_written boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  versions bigint[];
  stream_version bigint;
  known record;
BEGIN
  PERFORM message_store.lock_categories(stream_names);

  -- Messages that were written before.
  SELECT
    count(m.id) AS found,
    count(m.id) FILTER (WHERE m.stream_name = stream_names[n.stream_number] AND m.type = n.type
      AND m.data IS NOT DISTINCT FROM n.data_text::jsonb) AS same,
    (array_agg(n.id ORDER BY n.number) FILTER (WHERE m.id IS NOT NULL AND NOT (
      m.stream_name = stream_names[n.stream_number] AND m.type = n.type
      AND m.data IS NOT DISTINCT FROM n.data_text::jsonb)))[1] AS differing,
    (array_agg(n.id ORDER BY n.number) FILTER (WHERE m.id IS NOT NULL))[1] AS first_found
  INTO known
  FROM unnest(stream_numbers, ids, types, data_texts) WITH ORDINALITY AS n (stream_number, id, type, data_text, number)
  LEFT JOIN message_store.messages m ON m.id = n.id;

  IF known.found > 0 THEN
    IF known.same = cardinality(ids) THEN
      RETURN QUERY
        SELECT m.position, m.global_position, true
        FROM unnest(ids) WITH ORDINALITY AS n (id, number)
        JOIN message_store.messages m ON m.id = n.id
        ORDER BY n.number;
      RETURN;
    END IF;
    RAISE EXCEPTION USING
      ERRCODE = 'MS001',
      MESSAGE = format('Message id is taken: %s', coalesce(known.differing, known.first_found)),
      DETAIL = (
        SELECT json_build_object(
          'id', n.id,
          'stream', stream_names[n.stream_number],
          'reason', CASE
            WHEN m.stream_name <> stream_names[n.stream_number] THEN format('it was written to %s', m.stream_name)
            WHEN m.type <> n.type THEN format('it was written as a %s', m.type)
            WHEN m.data IS DISTINCT FROM n.data_text::jsonb THEN 'it was written with other data'
            ELSE format('only %s of the %s messages were written before', known.found, cardinality(ids))
          END
        )
        FROM unnest(stream_numbers, ids, types, data_texts) AS n (stream_number, id, type, data_text)
        JOIN message_store.messages m ON m.id = n.id
        WHERE n.id = coalesce(known.differing, known.first_found)
      );
  END IF;

  FOR stream_number IN 1 .. cardinality(stream_names) LOOP
    SELECT max(m.position) INTO stream_version
    FROM message_store.messages m
    WHERE m.stream_name = stream_names[stream_number];
    stream_version := coalesce(stream_version, -1);
    IF expected_versions[stream_number] <> stream_version THEN
      RAISE EXCEPTION USING
        ERRCODE = 'P0001',
        MESSAGE = format('Wrong expected version: %s (Stream: %s, Stream Version: %s)',
          expected_versions[stream_number], stream_names[stream_number], stream_version),
        DETAIL = json_build_object('stream', stream_names[stream_number],
          'expected', expected_versions[stream_number], 'actual', stream_version);
    END IF;
    versions[stream_number] := stream_version;
  END LOOP;

  PERFORM message_store.publish_lower_bound();

  RETURN QUERY
    WITH inserted AS (
      INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata)
      SELECT n.id, stream_names[n.stream_number],
        versions[n.stream_number] + row_number() OVER (PARTITION BY n.stream_number ORDER BY n.number),
        n.type, n.data_text::jsonb, n.metadata_text::jsonb
      FROM unnest(stream_numbers, ids, types, data_texts, metadata_texts)
        WITH ORDINALITY AS n (stream_number, id, type, data_text, metadata_text, number)
      ORDER BY n.number
      RETURNING messages.id, messages.position, messages.global_position
    )
    SELECT inserted.position, inserted.global_position, false
    FROM inserted
    ORDER BY inserted.global_position;
END $$;
