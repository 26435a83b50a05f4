-- Appending to several streams in one step, and reading all messages without passing one that is not committed yet.
--
-- Problem: positions are drawn before commit, so a reader can see a higher one while a lower one is still in flight.
-- For readers of a category: its writers hold a lock from before they draw positions until they have committed, so
-- positions of a category become visible in their order. It is Message DB's own lock, so its writers are bound by it too.
-- For readers of all messages: a writer publishes a lower bound of the positions it will draw, as a shared advisory lock
-- that ends with its transaction. The reader notes the last position drawn, then the lowest bound published, then reads
-- below both. A position it must not miss was drawn by a writer whose bound was published before: either the bound still
-- stands, and the reader stops below it, or the writer has ended, and a later statement sees what it wrote.

-- Version 1 had fewer arguments. Beside ours, a call could choose either. Version 2 of append_message returned a row.
DROP FUNCTION IF EXISTS message_store.append_message(text, bigint, uuid, text, jsonb, jsonb);
DROP FUNCTION IF EXISTS message_store.append_message(text, bigint, bigint, uuid, text, jsonb, jsonb);
DROP FUNCTION IF EXISTS message_store.append_messages(text[], bigint[], int[], int[], bigint[], int[], uuid[], text[], jsonb[], jsonb[]);
DROP FUNCTION IF EXISTS message_store.decide_appends(text[], bigint[], int[], int[], bigint[], int[], uuid[], text[], jsonb[]);

-- The lock of the stream's category, until the transaction ends. (One expression, as `publish_first_bound`: the planner puts it in the
-- place of the call.)
CREATE OR REPLACE FUNCTION message_store.lock_category(stream_name varchar) RETURNS void
LANGUAGE sql VOLATILE AS $$
-- message-store functions {version}
SELECT pg_catalog.pg_advisory_xact_lock(message_store.hash_64(message_store.category(stream_name)));
$$;

-- Takes the locks of the categories of some streams, always in the same order, so that two appends never wait for each other.
CREATE OR REPLACE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
DECLARE
  lock_key bigint;
BEGIN
  -- (IF is quicker than PERFORM: an expression is no query.)
  IF cardinality(stream_names) = 1 THEN
    IF message_store.lock_category(stream_names[1]) IS NULL THEN
      NULL;
    END IF;
    RETURN;
  END IF;
  FOR lock_key IN
    SELECT DISTINCT message_store.hash_64(categories.name)
    FROM (SELECT DISTINCT message_store.category(stream_name) FROM unnest(stream_names) AS stream_name) AS categories (name)
    ORDER BY 1
  LOOP
    PERFORM pg_advisory_xact_lock(lock_key);
  END LOOP;
END $$;

-- Waits for the lock of one category, or for none if its name is empty, and then takes the locks of those categories that no other
-- transaction has locked. A transaction waits only while it has no lock, so none waits in a circle, and none makes the writers of one
-- category wait for another category. Returns, for each stream, whether its category is locked by this transaction now; NULL if all are.
CREATE OR REPLACE FUNCTION message_store.lock_free_categories(stream_names text[], wait_for text) RETURNS boolean[]
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
DECLARE
  are_locked boolean[];
BEGIN
  IF wait_for <> '' AND message_store.lock_category(wait_for) IS NULL THEN
    NULL;
  END IF;
  are_locked := ARRAY(
    SELECT pg_try_advisory_xact_lock(message_store.hash_64(message_store.category(stream_name)))
    FROM unnest(stream_names) AS stream_name
  );
  RETURN CASE WHEN false = ANY (are_locked) THEN are_locked END;
END $$;

-- The global position that is drawn next.
CREATE OR REPLACE FUNCTION message_store.next_global_position() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
BEGIN
  RETURN coalesce(
    pg_sequence_last_value('message_store.messages_global_position_seq') + 1,
    -- Nothing has been drawn yet.
    (SELECT last_value FROM message_store.messages_global_position_seq)
  );
END $$;

-- Publishes a lower bound of what this transaction will draw, and not another one at each write: all later ones draw higher positions.
--
-- A transaction's first write, which most do not follow with another, leaves no note of its bound. Later ones keep it in a setting that
-- ends with the transaction. ROLLBACK TO SAVEPOINT takes back the setting and the lock alike, if they are younger than the savepoint. The
-- setting decides nothing by itself, since any client can make it: the lock is taken again at each call (which is free while it is
-- held), and a bound above what is drawn next is lowered. (Zero: nothing has been drawn yet.)
--
-- Writers choose between the two, by whether their transaction has an id yet: an expression is prepared anew in each transaction, so the
-- short one makes a write quicker.
--
-- The lock's upper 24 bits are a mark of ours (6175389), the others the bound's. The reader finds the rest from the position that is
-- drawn next, which would have to be 2^40 positions later to mislead it.
CREATE OR REPLACE FUNCTION message_store.publish_first_bound() RETURNS void
LANGUAGE sql VOLATILE AS $$
-- message-store functions {version}
SELECT pg_catalog.pg_advisory_xact_lock_shared((6175389::bigint << 40) | (1099511627775
  & coalesce(pg_catalog.pg_sequence_last_value('message_store.messages_global_position_seq') + 1, 0)));
$$;

CREATE OR REPLACE FUNCTION message_store.publish_later_bound() RETURNS void
LANGUAGE sql VOLATILE AS $$
-- message-store functions {version}
SELECT pg_catalog.pg_advisory_xact_lock_shared((6175389::bigint << 40) | (1099511627775
  & pg_catalog.set_config('message_store.lower_bound', greatest(0, least(
    nullif(pg_catalog.current_setting('message_store.lower_bound', true), '')::bigint,
    coalesce(pg_catalog.pg_sequence_last_value('message_store.messages_global_position_seq') + 1, 0)
  ))::text, true)::bigint));
$$;

-- The first global position that is not safe to read yet. A lock is a bound of ours when it is shared, has one number, and that
-- one's upper 24 bits are our mark.
CREATE OR REPLACE FUNCTION message_store.horizon() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
DECLARE
  next_position bigint;
  later_position bigint;
  bounds bigint[];
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION USING
      ERRCODE = 'feature_not_supported',
      MESSAGE = 'all messages cannot be read on a standby: it does not know which positions are still being written',
      HINT = 'Read all messages on the primary. Categories and streams can be read here.';
  END IF;

  next_position := message_store.next_global_position();

  SELECT array_agg(((classid::bigint & 255) << 32) | objid::bigint) INTO bounds
  FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND mode = 'ShareLock' AND classid::bigint >> 8 = 6175389
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
  IF bounds IS NULL THEN
    RETURN next_position;
  END IF;

  -- No bound is above this one, so the upper bits of each follow from it.
  later_position := message_store.next_global_position();
  RETURN (
    SELECT least(next_position, later_position - max((later_position - bound) & 1099511627775)) FROM unnest(bounds) AS bound
  );
END $$;

-- Appends that share a transaction, each with its own answer: one that is refused writes nothing and leaves the others alone.
--
-- An append has parts, one for each of its streams; a part has messages. Appends come in order, and with them their parts and
-- messages: append_parts is how many parts each append has, part_sizes how many messages each part has. Streams are given by
-- their number in stream_names, from 1. Where each part has one message and a stream of its own, in the order of stream_names,
-- part_streams and part_sizes are NULL. A position that the caller knows a stream to have (or NULL) spares looking at what lies
-- before it. No message id comes twice.
--
-- Waits for the locks of all categories. With `wait_for`, waits only for the category of that name, or for none if it is empty, and leaves
-- out the appends to categories that other transactions have locked.
--
-- Returns, for each message, its position and global position (NULL where its append is refused or left out). For each append, why it is
-- refused, as JSON: with expected and actual for a version conflict, with id and reason for an id that is taken, with a locked stream if
-- it is left out; and whether it was written before, so that its places are its first ones. These two are NULL when all is as usual. And whether
-- this call had to wait for a lock.
--
-- The version of a stream is in the table of messages (ONLY), while an id may be in the archive (V9__archive.sql).
--
-- Each look-up of a stream or an id is a subquery of its own, not a join: a plan that was made while the table was small would join by
-- reading the whole table, and is kept. (Plans for the numbers of one call would not be kept: a quarter of the time of a small call.)
CREATE OR REPLACE FUNCTION message_store.append_messages(
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
  wait_for text DEFAULT NULL,
  OUT positions bigint[],
  OUT global_positions bigint[],
  OUT refusals text[],
  OUT written_before boolean[],
  OUT has_waited boolean
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
-- message-store functions {version}
DECLARE
  began_at timestamptz := clock_timestamp();
  written_at timestamp;
  are_locked boolean[];
  versions bigint[];
  is_usual boolean;
  first_global_positions bigint[];
  message_names text[];
BEGIN
  -- (An array may count from another number than 1: a place in it would then be another one than its number.)
  IF (array_lower(stream_names, 1), array_lower(append_parts, 1), array_lower(part_expected_versions, 1), array_lower(ids, 1),
      array_lower(types, 1), array_lower(append_messages.data, 1)) IS DISTINCT FROM (1, 1, 1, 1, 1, 1)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'An array is empty, or does not count from 1';
  END IF;
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- Its snapshot is older than the lock of the category. What was written or archived before the lock was granted would be missed.
    RAISE EXCEPTION USING
      ERRCODE = 'feature_not_supported',
      MESSAGE = format('messages cannot be written in a transaction that is %s', current_setting('transaction_isolation')),
      HINT = 'Begin the transaction with READ COMMITTED.';
  END IF;
  -- (Here and below, IF is quicker than PERFORM: an expression is no query.)
  IF wait_for IS NOT NULL THEN
    are_locked := message_store.lock_free_categories(stream_names, wait_for);
  ELSIF message_store.lock_categories(stream_names) IS NULL THEN
    NULL;
  END IF;
  -- After the wait for the locks: a lease counts from here.
  written_at := clock_timestamp() AT TIME ZONE 'utc';
  has_waited := clock_timestamp() > began_at + interval '0.2 ms';

  IF part_streams IS NULL AND part_sizes IS NULL THEN
    IF cardinality(ids) <> cardinality(stream_names) OR cardinality(part_expected_versions) <> cardinality(stream_names) THEN
      RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
        MESSAGE = format('%s messages are given, and %s streams', cardinality(ids), cardinality(stream_names));
    END IF;
    -- (Not max(): the plan for it may be to read the whole stream. No expected version: NULL.)
    SELECT array_agg(s.version), array_agg(s.version + 1), bool_and(s.expected IS NULL OR s.expected = s.version) AND NOT bool_or(s.is_taken)
    INTO versions, positions, is_usual
    FROM (
      SELECT
        coalesce(
          (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = n.name AND m.position >= n.known
            ORDER BY m.position DESC LIMIT 1),
          (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = n.name ORDER BY m.position DESC LIMIT 1),
          -1
        ) AS version,
        n.expected,
        coalesce((SELECT true FROM message_store.messages m WHERE m.id = n.id), false) AS is_taken
      FROM unnest(stream_names, known_positions, part_expected_versions, ids) AS n (name, known, expected, id)
      OFFSET 0
    ) AS s;
    message_names := stream_names;
  ELSE
    SELECT p.versions, p.positions, p.message_names, p.is_usual INTO versions, positions, message_names, is_usual
    FROM message_store.place_messages(stream_names, known_positions, part_streams, part_expected_versions, part_sizes, ids) AS p;
  END IF;

  IF are_locked IS NOT NULL OR NOT is_usual THEN
    SELECT d.positions, d.global_positions, d.refusals, d.written_before
    INTO positions, first_global_positions, refusals, written_before
    FROM message_store.decide_appends(stream_names, versions, append_parts,
      coalesce(part_streams, ARRAY(SELECT generate_series(1, cardinality(ids)))), part_expected_versions,
      coalesce(part_sizes, array_fill(1, ARRAY[cardinality(ids)])), ids, types, append_messages.data, are_locked) AS d;
  END IF;

  -- Global positions are drawn in the order of the messages.
  IF pg_current_xact_id_if_assigned() IS NULL THEN
    IF message_store.publish_first_bound() IS NULL THEN
      NULL;
    END IF;
  ELSIF message_store.publish_later_bound() IS NULL THEN
    NULL;
  END IF;
  global_positions := ARRAY(
    SELECT CASE
      WHEN m.first IS NOT NULL THEN m.first
      WHEN m.position IS NOT NULL THEN nextval('message_store.messages_global_position_seq')
    END
    FROM unnest(positions, first_global_positions) AS m (position, first)
  );

  INSERT INTO message_store.messages (id, stream_name, position, global_position, type, data, metadata, time)
  SELECT n.id, n.stream_name, n.position, n.global_position, n.type, n.data, n.metadata, written_at
  FROM unnest(ids, message_names, positions, global_positions, types, append_messages.data, append_messages.metadata, first_global_positions)
    AS n (id, stream_name, position, global_position, type, data, metadata, first)
  WHERE n.position IS NOT NULL AND n.first IS NULL;
END $$;

-- The positions that messages take if all appends are written, the versions of the streams, the stream's name of each message, and
-- whether all is as usual: no version is another than expected, and no id is taken.
CREATE OR REPLACE FUNCTION message_store.place_messages(
  stream_names text[],
  known_positions bigint[],
  part_streams int[],
  part_expected_versions bigint[],
  part_sizes int[],
  ids uuid[],
  OUT versions bigint[],
  OUT positions bigint[],
  OUT message_names text[],
  OUT is_usual boolean
)
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
DECLARE
  current_versions bigint[];
  stream int;
  version bigint;
BEGIN
  IF array_lower(part_streams, 1) IS DISTINCT FROM 1 OR array_lower(part_sizes, 1) IS DISTINCT FROM 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'An array is empty, or does not count from 1';
  END IF;
  IF (1 <= ALL (part_sizes)) IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'A part has no messages';
  END IF;
  versions := ARRAY(
    SELECT coalesce(
      (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = s.name AND m.position >= s.known
        ORDER BY m.position DESC LIMIT 1),
      (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = s.name ORDER BY m.position DESC LIMIT 1),
      -1
    )
    FROM unnest(stream_names, known_positions) AS s (name, known)
  );
  -- Each message stands right after the one before it in its stream, whatever the caller asks for.
  is_usual := true;
  current_versions := versions;
  FOR part IN 1 .. cardinality(part_streams) LOOP
    stream := part_streams[part];
    version := current_versions[stream];
    is_usual := is_usual AND (part_expected_versions[part] <> version) IS NOT TRUE;
    FOR next_position IN version + 1 .. version + part_sizes[part] LOOP
      positions := positions || next_position;
      message_names := message_names || stream_names[stream];
    END LOOP;
    current_versions[stream] := version + part_sizes[part];
  END LOOP;
  IF cardinality(positions) IS DISTINCT FROM cardinality(ids) THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
      MESSAGE = format('%s messages are given, and the parts have %s', cardinality(ids), cardinality(positions));
  END IF;
  is_usual := is_usual AND NOT EXISTS (
    SELECT FROM unnest(ids) AS n (id) WHERE (SELECT true FROM message_store.messages m WHERE m.id = n.id)
  );
END $$;

-- As append_messages, for one append of one message: its position, its global position, and 1 if this call had to wait for the lock,
-- otherwise 0. NULL, and nothing is written, if another version is expected or the id is taken: append_messages says which. (One array
-- is quicker than a row of columns.)
CREATE OR REPLACE FUNCTION message_store.append_message(
  stream_name text,
  known_position bigint,
  expected_version bigint,
  id uuid,
  type text,
  data jsonb,
  metadata jsonb
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
#variable_conflict use_column
DECLARE
  began_at timestamptz := clock_timestamp();
  written_at timestamp;
  has_waited int;
  version bigint;
  is_taken boolean;
  written bigint;
BEGIN
  IF message_store.lock_category(append_message.stream_name) IS NULL THEN
    NULL;
  END IF;
  written_at := clock_timestamp() AT TIME ZONE 'utc';
  has_waited := (clock_timestamp() > began_at + interval '0.2 ms')::int;
  SELECT
    coalesce(
      (SELECT m.position FROM ONLY message_store.messages m
        WHERE m.stream_name = append_message.stream_name AND m.position >= append_message.known_position
        ORDER BY m.position DESC LIMIT 1),
      (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = append_message.stream_name ORDER BY m.position DESC LIMIT 1),
      -1
    ),
    EXISTS (SELECT FROM message_store.messages m WHERE m.id = append_message.id)
  INTO version, is_taken;
  IF is_taken OR append_message.expected_version <> version THEN
    RETURN NULL;
  END IF;
  IF pg_current_xact_id_if_assigned() IS NULL THEN
    IF message_store.publish_first_bound() IS NULL THEN
      NULL;
    END IF;
  ELSIF message_store.publish_later_bound() IS NULL THEN
    NULL;
  END IF;
  INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata, time)
  VALUES (append_message.id, append_message.stream_name, version + 1, append_message.type, append_message.data, append_message.metadata,
    written_at)
  RETURNING global_position INTO written;
  RETURN ARRAY[version + 1, written, has_waited];
END $$;

-- Which appends of a batch may be written, one after the other, when some may not. Global positions are those of messages that
-- were written before. `are_locked` says which streams' categories are locked (NULL: all).
CREATE OR REPLACE FUNCTION message_store.decide_appends(
  stream_names text[],
  versions bigint[],
  append_parts int[],
  part_streams int[],
  part_expected_versions bigint[],
  part_sizes int[],
  ids uuid[],
  types text[],
  data jsonb[],
  are_locked boolean[],
  OUT positions bigint[],
  OUT global_positions bigint[],
  OUT refusals text[],
  OUT written_before boolean[]
)
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
DECLARE
  part int := 1;
  last_part int;
  first_message int := 1;
  message int;
  size int;
  stream int;
  refusal text;
  is_any_known boolean;
  known_count bigint;
  same_count bigint;
  first_known int;
  differing int;
  difference text;
  place record;
BEGIN
  positions := array_fill(NULL::bigint, ARRAY[cardinality(ids)]);
  global_positions := positions;
  written_before := array_fill(false, ARRAY[cardinality(append_parts)]);
  refusals := array_fill(NULL::text, ARRAY[cardinality(append_parts)]);

  is_any_known := EXISTS (SELECT FROM unnest(ids) AS n (id) WHERE (SELECT true FROM message_store.messages m WHERE m.id = n.id));

  FOR append IN 1 .. cardinality(append_parts) LOOP
    last_part := part + append_parts[append] - 1;
    size := 0;
    refusal := NULL;
    known_count := 0;
    FOR number IN part .. last_part LOOP
      size := size + part_sizes[number];
      IF are_locked[part_streams[number]] IS FALSE THEN
        refusal := json_build_object('locked', stream_names[part_streams[number]]);
      END IF;
    END LOOP;

    -- Messages that were written before.
    IF is_any_known AND refusal IS NULL THEN
      SELECT
        count(*),
        count(*) FILTER (WHERE n.reason IS NULL),
        (array_agg(n.number ORDER BY n.number))[1],
        (array_agg(n.number ORDER BY n.number) FILTER (WHERE n.reason IS NOT NULL))[1],
        (array_agg(n.reason ORDER BY n.number) FILTER (WHERE n.reason IS NOT NULL))[1]
      INTO known_count, same_count, first_known, differing, difference
      FROM (
        SELECT g.number, CASE
          WHEN m.stream_name <> stream_names[g.stream] THEN format('it was written to %s', m.stream_name)
          WHEN m.type <> types[g.number] THEN format('it was written as a %s', m.type)
          -- The data of an erased message cannot be compared.
          WHEN m.data IS NULL AND m.metadata -> 'messageStore' -> 'erased' = 'true' THEN NULL
          WHEN m.data IS DISTINCT FROM decide_appends.data[g.number] THEN 'it was written with other data'
        END AS reason
        FROM (
          SELECT p.stream, first_message + row_number() OVER (ORDER BY p.number, i) - 1 AS number
          FROM unnest(part_streams[part:last_part], part_sizes[part:last_part]) WITH ORDINALITY AS p (stream, size, number),
            generate_series(1, p.size) AS i
        ) AS g
        CROSS JOIN LATERAL (SELECT * FROM message_store.messages m WHERE m.id = ids[g.number] LIMIT 1) AS m
      ) AS n;
    END IF;

    IF refusal IS NOT NULL THEN
      NULL;
    ELSIF known_count > 0 AND known_count = size AND same_count = size THEN
      FOR message IN first_message .. first_message + size - 1 LOOP
        SELECT m.position, m.global_position INTO place FROM message_store.messages m WHERE m.id = ids[message];
        positions[message] := place.position;
        global_positions[message] := place.global_position;
      END LOOP;
      written_before[append] := true;
    ELSIF known_count > 0 THEN
      refusal := json_build_object(
        'id', ids[coalesce(differing, first_known)],
        'reason', coalesce(difference, format('only %s of the %s messages were written before', known_count, size))
      );
    ELSE
      FOR number IN part .. last_part LOOP
        stream := part_streams[number];
        IF part_expected_versions[number] <> versions[stream] THEN
          refusal := json_build_object('stream', stream_names[stream], 'expected', part_expected_versions[number],
            'actual', versions[stream]);
          EXIT;
        END IF;
      END LOOP;
      IF refusal IS NULL THEN
        message := first_message;
        FOR number IN part .. last_part LOOP
          stream := part_streams[number];
          FOR i IN 1 .. part_sizes[number] LOOP
            versions[stream] := versions[stream] + 1;
            positions[message] := versions[stream];
            message := message + 1;
          END LOOP;
        END LOOP;
      END IF;
    END IF;

    refusals[append] := refusal;
    part := last_part + 1;
    first_message := first_message + size;
  END LOOP;
END $$;
