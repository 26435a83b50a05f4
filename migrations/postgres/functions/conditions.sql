-- Conditions of appends: "unless a message that matches a query stands after a position".
--
-- Problem: two writers look for a message, both find none, and both write one. A check in a transaction of its own does not help, nor does
-- one in the same statement as the write: each sees the database as it was before the other's commit. Fix: a writer locks the categories of
-- its condition together with those of its append, by the same locks and in the same order, and looks in a later statement. Why it is
-- right: each writer of one of these categories takes the same lock. So every other such write was committed before the lock was
-- granted, and a statement that begins then sees it; or it waits for the lock, until this writer has committed.

-- Version 5 had it.
DROP FUNCTION IF EXISTS message_store.condition_categories(jsonb[]);

-- The messages that make conditions fail: the number of the condition, from 1, and the global position, for each part of a condition at most
-- row_limit of them.
--
-- A condition is an array of parts, which are objects: the category, the position after which messages count, and, if they are not null, the
-- types (one of which the message has), the cardinal id, and the tags (all of which it has). A condition that is NULL has none.
--
-- STABLE: it sees what the statement that calls it sees. A reader asks for the ends of the categories in the same statement, and a writer calls
-- it in a statement of its own, after it has its locks.
--
-- Each part has one way to its messages. The ends of a category are short, if the caller has read up to a recent position: then the messages
-- after it are looked at. Otherwise messages are found by the tags, by the streams of the cardinal id, or by the category. The planner is not
-- asked: a plan that was made while the table was small would be kept. So the callers set enable_seqscan and plan_cache_mode, and OFFSET 0 keeps
-- the bound of the position out of a look-up. (The tags' index has no order, so it is read by a bitmap.) A way that no part takes costs nothing.
CREATE OR REPLACE FUNCTION message_store.matches(conditions jsonb[], row_limit bigint) RETURNS TABLE (number int, global_position bigint)
LANGUAGE plpgsql STABLE AS $$
-- message-store functions {version}
#variable_conflict use_column
DECLARE
  -- The parts: the numbers of their conditions, and their fields.
  parts record;
  near record;
  -- The parts for which all later messages of the category were looked at.
  done bigint[] := '{}';
BEGIN
  SELECT
    array_agg(c.number::int) AS numbers, array_agg(q.category) AS categories, array_agg(q.after) AS afters, array_agg(q.types) AS types,
    array_agg(q.cardinal_id) AS cardinal_ids, array_agg(q.tags) AS tags,
    bool_or(q.after > 0 AND (q.tags IS NOT NULL OR q.cardinal_id IS NOT NULL)) AS have_near_ends,
    bool_or(q.tags IS NOT NULL) AS have_tags,
    bool_or(q.tags IS NULL AND q.cardinal_id IS NOT NULL) AS have_ids,
    bool_or(q.tags IS NULL AND q.cardinal_id IS NULL) AS have_neither
  INTO parts
  FROM unnest(conditions) WITH ORDINALITY AS c (condition, number)
  CROSS JOIN LATERAL jsonb_to_recordset(c.condition) AS q (category text, after bigint, types jsonb, cardinal_id text, tags jsonb);

  IF parts.have_near_ends THEN
    FOR near IN
      SELECT p.number, p.part, f.looked_at, f.positions
      FROM unnest(parts.numbers, parts.categories, parts.afters, parts.types, parts.cardinal_ids, parts.tags) WITH ORDINALITY
        AS p (number, category, after, types, cardinal_id, tags, part)
      CROSS JOIN LATERAL (
        SELECT count(*) AS looked_at, array_agg(s.global_position ORDER BY s.global_position) FILTER (WHERE s.is_match) AS positions
        FROM (
          SELECT m.global_position,
            (p.types IS NULL OR p.types ? m.type)
              AND (p.cardinal_id IS NULL OR message_store.cardinal_id(m.stream_name) = p.cardinal_id)
              AND (p.tags IS NULL OR (m.metadata -> 'messageStore' -> 'tags') @> p.tags) AS is_match
          FROM message_store.messages m
          WHERE (message_store.category(m.stream_name)::text, m.global_position) > (p.category, p.after)
            AND message_store.category(m.stream_name)::text <= p.category
          ORDER BY message_store.category(m.stream_name)::text, m.global_position
          LIMIT 100
        ) AS s
      ) AS f
      WHERE p.after > 0 AND (p.tags IS NOT NULL OR p.cardinal_id IS NOT NULL)
    LOOP
      IF near.looked_at < 100 THEN
        done := done || near.part;
        IF near.positions IS NOT NULL THEN
          RETURN QUERY SELECT near.number, f.position FROM unnest(near.positions) AS f (position);
        END IF;
      END IF;
    END LOOP;
  END IF;

  IF parts.have_tags THEN
    RETURN QUERY
    SELECT p.number, f.global_position
    FROM unnest(parts.numbers, parts.categories, parts.afters, parts.types, parts.cardinal_ids, parts.tags) WITH ORDINALITY
      AS p (number, category, after, types, cardinal_id, tags, part)
    CROSS JOIN LATERAL (
      SELECT t.global_position
      FROM (
        SELECT m.global_position, m.stream_name, m.type
        FROM message_store.messages m
        WHERE (m.metadata -> 'messageStore' -> 'tags') @> p.tags
        OFFSET 0
      ) AS t
      WHERE t.global_position > p.after
        AND message_store.category(t.stream_name) = p.category
        AND (p.types IS NULL OR p.types ? t.type)
        AND (p.cardinal_id IS NULL OR message_store.cardinal_id(t.stream_name) = p.cardinal_id)
      ORDER BY t.global_position
      LIMIT row_limit
    ) AS f
    WHERE p.tags IS NOT NULL AND p.part <> ALL (done);
  END IF;

  IF parts.have_ids THEN
    RETURN QUERY
    SELECT p.number, f.global_position
    FROM unnest(parts.numbers, parts.categories, parts.afters, parts.types, parts.cardinal_ids, parts.tags) WITH ORDINALITY
      AS p (number, category, after, types, cardinal_id, tags, part)
    CROSS JOIN LATERAL (
      -- The entity's own stream, and those whose names go on with a plus sign. (The comma is the character after it.)
      SELECT t.global_position
      FROM (
        SELECT m.global_position, m.type
        FROM message_store.messages m
        WHERE m.stream_name = p.category || '-' || p.cardinal_id
        UNION ALL
        SELECT m.global_position, m.type
        FROM message_store.messages m
        WHERE m.stream_name COLLATE "C" >= p.category || '-' || p.cardinal_id || '+'
          AND m.stream_name COLLATE "C" < p.category || '-' || p.cardinal_id || ','
        OFFSET 0
      ) AS t
      WHERE t.global_position > p.after AND (p.types IS NULL OR p.types ? t.type)
      ORDER BY t.global_position
      LIMIT row_limit
    ) AS f
    -- (No stream has a cardinal id with a plus sign.)
    WHERE p.tags IS NULL AND strpos(p.cardinal_id, '+') = 0 AND p.part <> ALL (done);
  END IF;

  IF parts.have_neither THEN
    RETURN QUERY
    SELECT p.number, f.global_position
    FROM unnest(parts.numbers, parts.categories, parts.afters, parts.types, parts.cardinal_ids, parts.tags)
      AS p (number, category, after, types, cardinal_id, tags)
    CROSS JOIN LATERAL (
      SELECT m.global_position
      FROM message_store.messages m
      WHERE (message_store.category(m.stream_name)::text, m.global_position) > (p.category, p.after)
        AND message_store.category(m.stream_name)::text <= p.category
        AND (p.types IS NULL OR p.types ? m.type)
      ORDER BY message_store.category(m.stream_name)::text, m.global_position
      LIMIT row_limit
    ) AS f
    WHERE p.tags IS NULL AND p.cardinal_id IS NULL;
  END IF;
END $$;

-- The global positions of the messages that make a condition fail, in order, at most row_limit of them.
CREATE OR REPLACE FUNCTION message_store.matching(condition jsonb, row_limit bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = on SET jit = off AS $$
-- message-store functions {version}
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT f.global_position FROM message_store.matches(ARRAY[condition], row_limit) AS f ORDER BY f.global_position LIMIT row_limit
  );
END $$;

-- The categories of some streams and conditions, each once.
CREATE OR REPLACE FUNCTION message_store.categories_to_lock(stream_names text[], conditions jsonb[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
BEGIN
  RETURN ARRAY(
    SELECT message_store.category(n.name) FROM unnest(stream_names) AS n (name)
    UNION
    SELECT part ->> 'category' FROM unnest(conditions) AS c (condition), jsonb_array_elements(c.condition) AS part
  );
END $$;

-- As append_messages, for appends of which some have conditions: one for each append, NULL for none. Each append sees the appends before it,
-- as if they were committed. (They are of other callers, who have no answer yet. If one append of the transaction fails, all are rolled back.)
--
-- An append whose condition fails is refused with the place of a message that matches. An append that was written before is not: its own
-- messages may match. An append that expects another version is refused for that.
--
-- The appends are made in runs, each by one call of append_messages. A run ends before an append whose condition depends on a message of the
-- run: the message may match it, or is in the stream of the append, so that the append expects another version than the stream has.
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
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = on SET jit = off AS $$
-- message-store functions {version}
#variable_conflict use_column
DECLARE
  began_at timestamptz := clock_timestamp();
  are_locked boolean[];
  -- The append of each part, and of each message.
  part_appends int[];
  message_appends int[];
  -- The last append that each append may see (0: none).
  sees int[];
  first_append int;
  last_append int := 0;
  seen record;
  failed record;
  run record;
  run_positions bigint[];
  run_global_positions bigint[];
  run_refusals text[];
  run_written_before boolean[];
  kept int;
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Its snapshot is older than the locks, so it would not see what was written before they were granted.
    RAISE EXCEPTION USING
      ERRCODE = 'feature_not_supported',
      MESSAGE = format('an append with a condition cannot be made in a transaction that is %s', current_setting('transaction_isolation')),
      HINT = 'Begin the transaction with READ COMMITTED.';
  END IF;
  IF (array_lower(stream_names, 1), array_lower(append_parts, 1), array_lower(conditions, 1)) IS DISTINCT FROM (1, 1, 1)
    OR cardinality(conditions) <> cardinality(append_parts)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'An array is empty, or does not count from 1, or is too short';
  END IF;

  -- (The name of a category is a stream name of that category.)
  IF wait_for IS NOT NULL THEN
    are_locked := message_store.lock_free_categories(message_store.categories_to_lock(stream_names, conditions), wait_for);
  ELSIF message_store.lock_categories(message_store.categories_to_lock(stream_names, conditions)) IS NULL THEN
    NULL;
  END IF;
  has_waited := clock_timestamp() > began_at + interval '0.2 ms';
  refusals := array_fill(NULL::text, ARRAY[cardinality(append_parts)]);
  written_before := array_fill(false, ARRAY[cardinality(append_parts)]);

  part_appends := ARRAY(
    SELECT a.number FROM unnest(append_parts) WITH ORDINALITY AS a (size, number) CROSS JOIN LATERAL generate_series(1, a.size) ORDER BY a.number
  );
  message_appends := CASE WHEN part_sizes IS NULL THEN part_appends ELSE ARRAY(
    SELECT p.append
    FROM unnest(part_appends, part_sizes) WITH ORDINALITY AS p (append, size, number) CROSS JOIN LATERAL generate_series(1, p.size)
    ORDER BY p.number
  ) END;
  sees := array_fill(0, ARRAY[cardinality(append_parts)]);
  IF cardinality(append_parts) > 1 THEN
    FOR seen IN
      SELECT a.append, a.last
      FROM message_store.appends_in_sight(stream_names, part_streams, part_appends, message_appends, metadata, conditions) AS a
    LOOP
      sees[seen.append] := seen.last;
    END LOOP;
  END IF;

  IF are_locked IS NOT NULL THEN
    -- The lock of each category is taken again, or is not free.
    FOR failed IN
      SELECT n.append::int, min(n.name) AS name
      FROM (
        SELECT p.append, stream_names[p.stream] AS name
        FROM unnest(part_appends, coalesce(part_streams, ARRAY(SELECT generate_series(1, cardinality(part_appends))))) AS p (append, stream)
        UNION ALL
        SELECT c.number, part ->> 'category'
        FROM unnest(conditions) WITH ORDINALITY AS c (condition, number), jsonb_array_elements(c.condition) AS part
      ) AS n
      WHERE NOT pg_try_advisory_xact_lock(message_store.hash_64(message_store.category(n.name)))
      GROUP BY n.append
    LOOP
      refusals[failed.append] := json_build_object('locked', failed.name);
    END LOOP;
  END IF;

  WHILE last_append < cardinality(append_parts) LOOP
    first_append := last_append + 1;
    last_append := first_append;
    WHILE last_append < cardinality(append_parts) AND sees[last_append + 1] < first_append LOOP
      last_append := last_append + 1;
    END LOOP;

    FOR failed IN
      SELECT f.number + first_append - 1 AS append, min(f.global_position) AS global_position
      FROM message_store.matches(conditions[first_append:last_append], 1) AS f
      GROUP BY f.number
    LOOP
      IF refusals[failed.append] IS NULL AND NOT EXISTS (
        SELECT FROM unnest(ids, message_appends) AS n (id, append)
        WHERE n.append = failed.append AND (SELECT true FROM message_store.messages m WHERE m.id = n.id)
      ) AND NOT EXISTS (
        -- (The first part for each stream: later ones count the parts before.)
        SELECT FROM (
          SELECT DISTINCT ON (p.stream) stream_names[p.stream] AS name, p.expected
          FROM (
            SELECT coalesce(a.stream, a.number) AS stream, a.expected, a.append, a.number
            FROM unnest(part_streams, part_expected_versions, part_appends) WITH ORDINALITY AS a (stream, expected, append, number)
          ) AS p
          WHERE p.append = failed.append
          ORDER BY p.stream, p.number
        ) AS f
        WHERE f.expected <> coalesce(
          (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = f.name ORDER BY m.position DESC LIMIT 1), -1)
      ) THEN
        refusals[failed.append] := (
          SELECT json_build_object('matched', json_build_object(
            'id', m.id, 'stream', m.stream_name, 'position', m.position, 'global_position', m.global_position
          ))
          FROM message_store.messages m
          WHERE m.global_position = failed.global_position
        );
      END IF;
    END LOOP;

    IF first_append = 1 AND last_append = cardinality(append_parts) AND num_nonnulls(VARIADIC refusals) = 0 THEN
      SELECT w.positions, w.global_positions, w.refusals, w.written_before
      INTO positions, global_positions, run_refusals, run_written_before
      FROM message_store.append_messages(stream_names, known_positions, append_parts, part_streams, part_expected_versions, part_sizes,
        ids, types, append_messages_unless.data, append_messages_unless.metadata) AS w;
    ELSE
      run_positions := NULL;
      SELECT
        array_agg(DISTINCT p.stream ORDER BY p.stream) AS streams,
        array_agg(p.place ORDER BY p.number) AS places,
        array_agg(p.expected ORDER BY p.number) AS expected,
        array_agg(p.size ORDER BY p.number) AS sizes
      INTO run
      FROM (
        SELECT a.stream, a.expected, a.size, a.number, dense_rank() OVER (ORDER BY a.stream)::int AS place
        FROM (
          SELECT coalesce(p.stream, p.number) AS stream, p.expected, p.size, p.append, p.number
          FROM unnest(part_streams, part_expected_versions, part_sizes, part_appends) WITH ORDINALITY AS p (stream, expected, size, append, number)
          WHERE p.append BETWEEN first_append AND last_append
        ) AS a
        WHERE refusals[a.append] IS NULL
      ) AS p;
      IF run.streams IS NOT NULL THEN
        SELECT w.positions, w.global_positions, w.refusals, w.written_before
        INTO run_positions, run_global_positions, run_refusals, run_written_before
        FROM (
          SELECT array_agg(m.id ORDER BY m.number) AS ids, array_agg(m.type ORDER BY m.number) AS types,
            array_agg(m.data ORDER BY m.number) AS data, array_agg(m.metadata ORDER BY m.number) AS metadata
          FROM unnest(ids, types, append_messages_unless.data, append_messages_unless.metadata, message_appends) WITH ORDINALITY
            AS m (id, type, data, metadata, append, number)
          WHERE m.append BETWEEN first_append AND last_append AND refusals[m.append] IS NULL
        ) AS m
        CROSS JOIN LATERAL message_store.append_messages(
          ARRAY(SELECT stream_names[s.stream] FROM unnest(run.streams) WITH ORDINALITY AS s (stream, number) ORDER BY s.number),
          ARRAY(SELECT known_positions[s.stream] FROM unnest(run.streams) WITH ORDINALITY AS s (stream, number) ORDER BY s.number),
          ARRAY(SELECT append_parts[a] FROM generate_series(first_append, last_append) AS a WHERE refusals[a] IS NULL ORDER BY a),
          CASE WHEN part_streams IS NOT NULL THEN run.places END,
          run.expected,
          CASE WHEN part_sizes IS NOT NULL THEN run.sizes END,
          m.ids, m.types, m.data, m.metadata
        ) AS w;
      END IF;
      SELECT positions || array_agg(w.position ORDER BY m.number), global_positions || array_agg(w.global_position ORDER BY m.number)
      INTO positions, global_positions
      FROM (
        SELECT a.number, CASE WHEN a.is_kept THEN row_number() OVER (PARTITION BY a.is_kept ORDER BY a.number) END AS place
        FROM (
          SELECT m.number, refusals[m.append] IS NULL AS is_kept
          FROM unnest(message_appends) WITH ORDINALITY AS m (append, number)
          WHERE m.append BETWEEN first_append AND last_append
        ) AS a
      ) AS m
      LEFT JOIN unnest(run_positions, run_global_positions) WITH ORDINALITY AS w (position, global_position, number) ON w.number = m.place;
    END IF;

    kept := 0;
    FOR append IN first_append .. last_append LOOP
      CONTINUE WHEN refusals[append] IS NOT NULL;
      kept := kept + 1;
      written_before[append] := coalesce(run_written_before[kept], false);
      refusals[append] := run_refusals[kept];
    END LOOP;
  END LOOP;
END $$;

-- The appends of a call that may see others before them, each with the last one that it may see: a message of that append is in one of its
-- streams, or may match its condition. An append without a condition sees none. (Of each part of a condition, one key is compared: a tag, the
-- cardinal id or the category. It reads no table, so it may join by hashes.)
CREATE OR REPLACE FUNCTION message_store.appends_in_sight(
  stream_names text[],
  part_streams int[],
  part_appends int[],
  message_appends int[],
  metadata jsonb[],
  conditions jsonb[]
) RETURNS TABLE (append int, last int)
LANGUAGE plpgsql VOLATILE SET enable_hashjoin = on AS $$
-- message-store functions {version}
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH parts AS MATERIALIZED (
    SELECT p.append, stream_names[coalesce(p.stream, p.number)] AS name
    FROM unnest(part_appends, part_streams) WITH ORDINALITY AS p (append, stream, number)
  ), written (append, key) AS (
    SELECT p.append, 'stream ' || p.name FROM parts AS p
    UNION ALL
    SELECT p.append, 'category ' || message_store.category(p.name) FROM parts AS p
    UNION ALL
    SELECT p.append, 'id ' || message_store.cardinal_id(p.name) FROM parts AS p
    UNION ALL
    SELECT m.append, 'tag ' || tag
    FROM (
      SELECT m.append, m.metadata -> 'messageStore' -> 'tags' AS tags FROM unnest(message_appends, metadata) AS m (append, metadata)
    ) AS m
    CROSS JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(m.tags) = 'array' THEN m.tags END) AS tag
  ), seen (append, key) AS (
    SELECT p.append, 'stream ' || p.name FROM parts AS p WHERE conditions[p.append] IS NOT NULL
    UNION ALL
    SELECT c.number::int, coalesce('tag ' || (q.tags ->> 0), 'id ' || q.cardinal_id, 'category ' || q.category)
    FROM unnest(conditions) WITH ORDINALITY AS c (condition, number)
    CROSS JOIN LATERAL jsonb_to_recordset(c.condition) AS q (category text, cardinal_id text, tags jsonb)
  )
  SELECT s.append, max(w.append)
  FROM seen AS s
  JOIN written AS w USING (key)
  WHERE w.append < s.append
  GROUP BY s.append;
END $$;
