-- Conditions of appends: "unless a message that matches a query stands after a position".
--
-- Problem: two writers look for a message, both find none, and both write one. A check in a transaction of its own does not help, nor does
-- one in the same statement as the write: each sees the database as it was before the other's commit. Fix: a writer locks the categories of
-- its condition together with those of its append, by the same locks and in the same order, and looks in a later statement. Why it is
-- right: each writer of one of these categories takes the same lock. So every other such write was committed before the lock was
-- granted, and a statement that begins then sees it; or it waits for the lock, until this writer has committed.

-- The global positions of the messages that make a condition fail, in order, at most row_limit of them.
--
-- A condition is an array of parts, which are objects: the category, the position after which messages count, and, if they are not null, the
-- types (one of which the message has), the cardinal id, and the tags (all of which it has).
--
-- STABLE: it sees what the statement that calls it sees. A reader asks for the ends of the categories in the same statement, and a writer calls
-- it in a statement of its own, after it has its locks.
--
-- Each part has one way to its messages. The ends of a category are short, if the caller has read up to a recent position: then the messages
-- after it are looked at. Otherwise messages are found by the tags, by the streams of the cardinal id, or by the category. The planner is not
-- asked: a plan that was made while the table was small would be kept. (The tags' index has no order, so it is read by a bitmap.)
CREATE OR REPLACE FUNCTION message_store.matching(condition jsonb, row_limit bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = on SET jit = off AS $$
-- message-store functions {version}
DECLARE
  part record;
  looked_at bigint;
  positions bigint[];
  found bigint[] := '{}';
BEGIN
  FOR part IN
    SELECT * FROM jsonb_to_recordset(condition) AS p (category text, after bigint, types text[], cardinal_id text, tags jsonb)
  LOOP
    IF part.after > 0 AND (part.tags IS NOT NULL OR part.cardinal_id IS NOT NULL) THEN
      SELECT count(*), array_agg(s.global_position ORDER BY s.global_position) FILTER (WHERE s.is_match)
      INTO looked_at, positions
      FROM (
        SELECT m.global_position,
          (part.types IS NULL OR m.type = ANY (part.types))
            AND (part.cardinal_id IS NULL OR message_store.cardinal_id(m.stream_name) = part.cardinal_id)
            AND (part.tags IS NULL OR (m.metadata -> 'messageStore' -> 'tags') @> part.tags) AS is_match
        FROM message_store.messages m
        WHERE (message_store.category(m.stream_name)::text, m.global_position) > (part.category, part.after)
          AND message_store.category(m.stream_name)::text <= part.category
        ORDER BY message_store.category(m.stream_name)::text, m.global_position
        LIMIT 100
      ) AS s;
      IF looked_at < 100 THEN
        found := found || positions;
        CONTINUE;
      END IF;
    END IF;

    IF part.tags IS NOT NULL THEN
      positions := ARRAY(
        SELECT t.global_position
        FROM (
          SELECT m.global_position, m.stream_name, m.type
          FROM message_store.messages m
          WHERE (m.metadata -> 'messageStore' -> 'tags') @> part.tags
          OFFSET 0
        ) AS t
        WHERE t.global_position > part.after
          AND message_store.category(t.stream_name) = part.category
          AND (part.types IS NULL OR t.type = ANY (part.types))
          AND (part.cardinal_id IS NULL OR message_store.cardinal_id(t.stream_name) = part.cardinal_id)
        ORDER BY t.global_position
        LIMIT row_limit
      );
    ELSIF part.cardinal_id IS NOT NULL THEN
      -- The entity's own stream, and those whose names go on with a plus sign. (The comma is the character after it.)
      positions := ARRAY(
        SELECT t.global_position
        FROM (
          SELECT m.global_position, m.type
          FROM message_store.messages m
          WHERE m.stream_name = part.category || '-' || part.cardinal_id
          UNION ALL
          SELECT m.global_position, m.type
          FROM message_store.messages m
          WHERE m.stream_name >= part.category || '-' || part.cardinal_id || '+' AND m.stream_name < part.category || '-' || part.cardinal_id || ','
        ) AS t
        WHERE t.global_position > part.after AND (part.types IS NULL OR t.type = ANY (part.types))
        ORDER BY t.global_position
        LIMIT row_limit
      );
    ELSE
      positions := ARRAY(
        SELECT m.global_position
        FROM message_store.messages m
        WHERE (message_store.category(m.stream_name)::text, m.global_position) > (part.category, part.after)
          AND message_store.category(m.stream_name)::text <= part.category
          AND (part.types IS NULL OR m.type = ANY (part.types))
        ORDER BY message_store.category(m.stream_name)::text, m.global_position
        LIMIT row_limit
      );
    END IF;
    found := found || positions;
  END LOOP;

  RETURN ARRAY(SELECT DISTINCT f.position FROM unnest(found) AS f (position) ORDER BY f.position LIMIT row_limit);
END $$;

-- The categories of some conditions, each once.
CREATE OR REPLACE FUNCTION message_store.condition_categories(conditions jsonb[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
BEGIN
  RETURN ARRAY(SELECT DISTINCT part ->> 'category' FROM unnest(conditions) AS c (condition), jsonb_array_elements(c.condition) AS part);
END $$;

-- As append_messages, for appends of which some have conditions: one for each append, NULL for none. Each append sees the appends before it, as if they were committed. (They are of other callers, who have no answer yet. If one append of the
-- transaction fails, all are rolled back.)
--
-- An append whose condition fails is refused with the place of a message that matches. An append that was written before is not: its own
-- messages may match. In append_parts, each append has at least one part; part_streams and part_sizes are not NULL.
CREATE OR REPLACE FUNCTION message_store.append_messages_unless(
  stream_names text[],
  known_positions bigint[],
  append_parts int[],
  part_streams int[],
  part_expected_versions bigint[],
  part_sizes int[],
  ids uuid[],
  types text[],
  data jsonb[],
  metadata jsonb[],
  wait_for text,
  conditions jsonb[],
  OUT positions bigint[],
  OUT global_positions bigint[],
  OUT refusals text[],
  OUT written_before boolean[],
  OUT has_waited boolean
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
DECLARE
  began_at timestamptz := clock_timestamp();
  are_locked boolean[];
  locked_out text;
  last_append int := 0;
  first_append int;
  first_part int;
  last_part int := 0;
  first_message int;
  last_message int := 0;
  size int;
  matched bigint;
  refusal text;
  written record;
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Its snapshot is older than the locks, so it would not see what was written before they were granted.
    RAISE EXCEPTION USING
      ERRCODE = 'feature_not_supported',
      MESSAGE = format('an append with a condition cannot be made in a transaction that is %s', current_setting('transaction_isolation')),
      HINT = 'Begin the transaction with READ COMMITTED.';
  END IF;
  IF (array_lower(stream_names, 1), array_lower(append_parts, 1), array_lower(part_streams, 1), array_lower(part_sizes, 1),
      array_lower(conditions, 1)) IS DISTINCT FROM (1, 1, 1, 1, 1) OR cardinality(conditions) <> cardinality(append_parts)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'An array is empty, or does not count from 1, or is too short';
  END IF;

  -- (The name of a category is a stream name of that category.)
  IF wait_for IS NULL THEN
    PERFORM message_store.lock_categories(stream_names || message_store.condition_categories(conditions));
  ELSE
    are_locked := message_store.lock_free_categories(stream_names || message_store.condition_categories(conditions), wait_for);
  END IF;
  has_waited := clock_timestamp() > began_at + interval '0.2 ms';
  written_before := array_fill(false, ARRAY[cardinality(append_parts)]);
  refusals := array_fill(NULL::text, ARRAY[cardinality(append_parts)]);

  WHILE last_append < cardinality(append_parts) LOOP
    first_append := last_append + 1;
    last_append := first_append;
    first_part := last_part + 1;
    last_part := last_part + append_parts[last_append];
    first_message := last_message + 1;
    size := (SELECT sum(s) FROM unnest(part_sizes[first_part:last_part]) AS s);
    last_message := last_message + size;
    refusal := NULL;

    IF are_locked IS NOT NULL THEN
      -- The lock of each category is taken again, or is not free.
      SELECT n.name INTO locked_out
      FROM (
        SELECT stream_names[p.stream] AS name FROM unnest(part_streams[first_part:last_part]) AS p (stream)
        UNION ALL
        SELECT c FROM unnest(message_store.condition_categories(conditions[first_append:last_append])) AS c
      ) AS n
      WHERE NOT pg_try_advisory_xact_lock(message_store.hash_64(message_store.category(n.name)))
      LIMIT 1;
      IF locked_out IS NOT NULL THEN
        refusal := json_build_object('locked', locked_out);
      END IF;
    END IF;

    IF refusal IS NULL AND conditions[last_append] IS NOT NULL THEN
      matched := (message_store.matching(conditions[last_append], 1))[1];
      IF matched IS NOT NULL AND NOT EXISTS (
        SELECT FROM unnest(ids[first_message:last_message]) AS n (id) WHERE (SELECT true FROM message_store.messages m WHERE m.id = n.id)
      ) THEN
        SELECT json_build_object('matched', json_build_object(
          'id', m.id, 'stream', m.stream_name, 'position', m.position, 'global_position', m.global_position
        )) INTO refusal
        FROM message_store.messages m
        WHERE m.global_position = matched;
      END IF;
    END IF;

    IF refusal IS NULL THEN
      SELECT w.* INTO written
      FROM message_store.append_messages(
        ARRAY(SELECT stream_names[p.stream] FROM unnest(part_streams[first_part:last_part]) WITH ORDINALITY AS p (stream, number) ORDER BY p.number),
        ARRAY(SELECT known_positions[p.stream] FROM unnest(part_streams[first_part:last_part]) WITH ORDINALITY AS p (stream, number) ORDER BY p.number),
        ARRAY[append_parts[last_append]],
        ARRAY(SELECT generate_series(1, append_parts[last_append])),
        part_expected_versions[first_part:last_part],
        part_sizes[first_part:last_part],
        ids[first_message:last_message],
        types[first_message:last_message],
        append_messages_unless.data[first_message:last_message],
        append_messages_unless.metadata[first_message:last_message]
      ) AS w;
      positions := positions || written.positions;
      global_positions := global_positions || written.global_positions;
      refusal := written.refusals[1];
      written_before[last_append] := coalesce(written.written_before[1], false);
    ELSE
      positions := positions || array_fill(NULL::bigint, ARRAY[size]);
      global_positions := global_positions || array_fill(NULL::bigint, ARRAY[size]);
    END IF;
    refusals[last_append] := refusal;
  END LOOP;
END $$;
