--
-- PostgreSQL database dump
--

\restrict z65TZaqG65K2yJuKgag3D1fb1vdR6qkplfXohf4OPzZjhFBQvI62u5tv6SmDYNs

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: message_store; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA message_store;


--
-- Name: message; Type: TYPE; Schema: message_store; Owner: -
--

CREATE TYPE message_store.message AS (
	id character varying,
	stream_name character varying,
	type character varying,
	"position" bigint,
	global_position bigint,
	data character varying,
	metadata character varying,
	"time" timestamp without time zone
);


--
-- Name: acquire_lock(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.acquire_lock(stream_name character varying) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
BEGIN
  PERFORM message_store.lock_category(stream_name);
  RETURN message_store.hash_64(message_store.category(stream_name));
END $$;


--
-- Name: append_messages(text[], bigint[], integer[], integer[], bigint[], integer[], uuid[], text[], jsonb[], jsonb[]); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.append_messages(stream_names text[], known_positions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], metadata jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
DECLARE
  written_at timestamp;
  versions bigint[];
  current_versions bigint[];
  first_global_positions bigint[];
  message_streams int[];
  stream int;
  version bigint;
  is_refused boolean := false;
BEGIN
  -- (An array may count from another number than 1: a place in it would then be another one than its number.)
  IF (array_lower(stream_names, 1), array_lower(append_parts, 1), array_lower(part_streams, 1), array_lower(part_expected_versions, 1),
      array_lower(part_sizes, 1), array_lower(ids, 1), array_lower(types, 1), array_lower(append_messages.data, 1))
    IS DISTINCT FROM (1, 1, 1, 1, 1, 1, 1, 1)
  THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'An array is empty, or does not count from 1';
  END IF;
  PERFORM message_store.lock_categories(stream_names);
  -- After the wait for the locks: a lease counts from here.
  written_at := clock_timestamp() AT TIME ZONE 'utc';

  versions := ARRAY(
    -- (Not max(): the plan for it may be to read the whole stream.)
    SELECT coalesce(
      (SELECT m.position FROM message_store.messages m WHERE m.stream_name = s.name AND m.position >= s.known
        ORDER BY m.position DESC LIMIT 1),
      (SELECT m.position FROM message_store.messages m WHERE m.stream_name = s.name ORDER BY m.position DESC LIMIT 1),
      -1
    )
    FROM unnest(stream_names, known_positions) WITH ORDINALITY AS s (name, known, number)
    ORDER BY s.number
  );

  -- Each message stands right after the one before it in its stream, whatever the caller asks for. (No expected version: NULL.)
  IF (1 <= ALL (part_sizes)) IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'A part has no messages';
  END IF;
  IF cardinality(ids) >= 8 AND cardinality(part_streams) = cardinality(stream_names) AND 1 = ALL (part_sizes) THEN
    -- One message for each stream: two queries, which many messages share, are quicker than a loop.
    message_streams := part_streams;
    positions := ARRAY(
      SELECT versions[p.stream] + 1 FROM unnest(part_streams) WITH ORDINALITY AS p (stream, number) ORDER BY p.number
    );
    is_refused := EXISTS (
      SELECT FROM unnest(positions, part_expected_versions) AS p (position, expected) WHERE p.expected <> p.position - 1
    );
    IF array_position(positions, NULL) IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'A part names no stream';
    END IF;
  ELSE
    current_versions := versions;
    FOR part IN 1 .. cardinality(part_streams) LOOP
      stream := part_streams[part];
      version := current_versions[stream];
      is_refused := is_refused OR part_expected_versions[part] <> version;
      FOR next_position IN version + 1 .. version + part_sizes[part] LOOP
        positions := positions || next_position;
        message_streams := message_streams || stream;
      END LOOP;
      current_versions[stream] := version + part_sizes[part];
    END LOOP;
  END IF;
  IF cardinality(positions) IS DISTINCT FROM cardinality(ids) THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
      MESSAGE = format('%s messages are given, and the parts have %s', cardinality(ids), cardinality(positions));
  END IF;

  IF is_refused OR EXISTS (SELECT FROM unnest(ids) AS n (id) JOIN message_store.messages m ON m.id = n.id) THEN
    SELECT d.positions, d.global_positions, d.refusals, d.written_before
    INTO positions, first_global_positions, refusals, written_before
    FROM message_store.decide_appends(stream_names, versions, append_parts, part_streams, part_expected_versions, part_sizes,
      ids, types, append_messages.data) AS d;
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
  SELECT n.id, stream_names[n.stream], n.position, n.global_position, n.type, n.data, n.metadata, written_at
  FROM unnest(ids, message_streams, positions, global_positions, types, append_messages.data, append_messages.metadata, first_global_positions)
    AS n (id, stream, position, global_position, type, data, metadata, first)
  WHERE n.position IS NOT NULL AND n.first IS NULL;
END $$;


--
-- Name: assert_sql_condition(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.assert_sql_condition() RETURNS void
    LANGUAGE plpgsql STABLE
    AS $$
-- message-store functions 1
BEGIN
  IF NOT (SELECT allowed FROM message_store.sql_condition)
    OR coalesce(current_setting('message_store.sql_condition', true), 'off') = 'off'
  THEN
    RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
  END IF;
END $$;


--
-- Name: cardinal_id(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.cardinal_id(stream_name character varying) RETURNS character varying
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
-- message-store functions 1
SELECT pg_catalog.split_part(message_store.id(stream_name), '+', 1);
$$;


--
-- Name: category(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.category(stream_name character varying) RETURNS character varying
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
-- message-store functions 1
SELECT pg_catalog.split_part(stream_name, '-', 1);
$$;


--
-- Name: decide_appends(text[], bigint[], integer[], integer[], bigint[], integer[], uuid[], text[], jsonb[]); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.decide_appends(stream_names text[], versions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
DECLARE
  part int := 1;
  last_part int;
  first_message int := 1;
  message int;
  size int;
  stream int;
  refusal text;
  known record;
  place record;
BEGIN
  positions := array_fill(NULL::bigint, ARRAY[cardinality(ids)]);
  global_positions := positions;
  written_before := array_fill(false, ARRAY[cardinality(append_parts)]);
  refusals := array_fill(NULL::text, ARRAY[cardinality(append_parts)]);

  FOR append IN 1 .. cardinality(append_parts) LOOP
    last_part := part + append_parts[append] - 1;
    size := (SELECT sum(s) FROM unnest(part_sizes[part:last_part]) AS s);
    refusal := NULL;

    -- Messages that were written before.
    SELECT
      count(*) AS found,
      count(*) FILTER (WHERE n.reason IS NULL) AS same,
      (array_agg(n.number ORDER BY n.number))[1] AS first_found,
      (array_agg(n.number ORDER BY n.number) FILTER (WHERE n.reason IS NOT NULL))[1] AS differing,
      (array_agg(n.reason ORDER BY n.number) FILTER (WHERE n.reason IS NOT NULL))[1] AS reason
    INTO known
    FROM (
      SELECT g.number, CASE
        WHEN m.stream_name <> stream_names[g.stream] THEN format('it was written to %s', m.stream_name)
        WHEN m.type <> types[g.number] THEN format('it was written as a %s', m.type)
        WHEN m.data IS DISTINCT FROM decide_appends.data[g.number] THEN 'it was written with other data'
      END AS reason
      FROM (
        SELECT p.stream, first_message + row_number() OVER (ORDER BY p.number, i) - 1 AS number
        FROM unnest(part_streams[part:last_part], part_sizes[part:last_part]) WITH ORDINALITY AS p (stream, size, number),
          generate_series(1, p.size) AS i
      ) AS g
      JOIN message_store.messages m ON m.id = ids[g.number]
    ) AS n;

    IF known.found = size AND known.same = size THEN
      FOR message IN first_message .. first_message + size - 1 LOOP
        SELECT m.position, m.global_position INTO place FROM message_store.messages m WHERE m.id = ids[message];
        positions[message] := place.position;
        global_positions[message] := place.global_position;
      END LOOP;
      written_before[append] := true;
    ELSIF known.found > 0 THEN
      refusal := json_build_object(
        'id', ids[coalesce(known.differing, known.first_found)],
        'reason', coalesce(known.reason, format('only %s of the %s messages were written before', known.found, size))
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


--
-- Name: find_key(text, text, interval, boolean); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.find_key(found_scope text, found_key text, lifetime interval, is_sliding boolean) RETURNS TABLE(first_taken_at timestamp with time zone, first_fingerprint text, first_result text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
BEGIN
  IF is_sliding THEN
    UPDATE message_store.deduplication d SET expires_at = clock_timestamp() + lifetime
    WHERE d.scope = found_scope AND d.key = found_key AND d.expires_at > clock_timestamp();
  END IF;
  RETURN QUERY
    SELECT d.taken_at, d.fingerprint, d.result::text
    FROM message_store.deduplication d
    WHERE d.scope = found_scope AND d.key = found_key AND d.expires_at > clock_timestamp();
END $$;


--
-- Name: get_category_messages(character varying, bigint, bigint, character varying, bigint, bigint, character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.get_category_messages(category character varying, "position" bigint DEFAULT 1, batch_size bigint DEFAULT 1000, correlation character varying DEFAULT NULL::character varying, consumer_group_member bigint DEFAULT NULL::bigint, consumer_group_size bigint DEFAULT NULL::bigint, condition character varying DEFAULT NULL::character varying) RETURNS SETOF message_store.message
    LANGUAGE plpgsql
    SET max_parallel_workers_per_gather TO '0'
    AS $_$
-- message-store functions 1
#variable_conflict use_column
DECLARE
  first bigint := coalesce(get_category_messages.position, 1);
  row_limit bigint := nullif(coalesce(get_category_messages.batch_size, 1000), -1);
  member bigint := get_category_messages.consumer_group_member;
  size bigint := get_category_messages.consumer_group_size;
  group_text text := pg_catalog.format('(Consumer Group Member: %s, Consumer Group Size: %s)',
    coalesce(member::text, '<NULL>'), coalesce(size::text, '<NULL>'));
BEGIN
  IF message_store.is_on('debug_get') THEN
    RAISE NOTICE '» get_category_messages %', jsonb_build_object('category', get_category_messages.category,
      'position', first, 'batch_size', get_category_messages.batch_size, 'correlation', get_category_messages.correlation,
      'consumer_group_member', member, 'consumer_group_size', size, 'condition', get_category_messages.condition);
  END IF;

  IF NOT message_store.is_category(get_category_messages.category) THEN
    RAISE EXCEPTION 'Must be a category: %', get_category_messages.category;
  ELSIF NOT message_store.is_category(get_category_messages.correlation) THEN
    RAISE EXCEPTION 'Correlation must be a category (Correlation: %)', get_category_messages.correlation;
  ELSIF (member IS NULL) <> (size IS NULL) THEN
    RAISE EXCEPTION 'Consumer group member and size must be specified %', group_text;
  ELSIF size < 1 THEN
    RAISE EXCEPTION 'Consumer group size must not be less than 1 %', group_text;
  ELSIF member < 0 THEN
    RAISE EXCEPTION 'Consumer group member must not be less than 0 %', group_text;
  ELSIF member >= size THEN
    RAISE EXCEPTION 'Consumer group member must be less than the group size %', group_text;
  END IF;
  IF get_category_messages.condition IS NOT NULL THEN
    PERFORM message_store.assert_sql_condition();
  END IF;
  -- Message DB's bound: a larger size is out of range.
  size := size::smallint;

  IF get_category_messages.condition IS NULL AND get_category_messages.correlation IS NULL THEN
    RETURN QUERY
      SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
        m.data::varchar, m.metadata::varchar, m.time
      FROM message_store.messages m
      WHERE (message_store.category(m.stream_name)::text, m.global_position) >= (get_category_messages.category::text, first)
        AND message_store.category(m.stream_name)::text <= get_category_messages.category::text
        AND (size IS NULL OR pg_catalog.mod(pg_catalog.abs(message_store.hash_64(message_store.cardinal_id(m.stream_name))), size) = member)
      ORDER BY message_store.category(m.stream_name)::text, m.global_position
      LIMIT row_limit;
    RETURN;
  ELSIF get_category_messages.condition IS NULL THEN
    -- A query of its own, so that the index tells which rows are correlated. With ANY the order stays one that messages_category alone
    -- yields, and a row in it costs less to pass over than with the range.
    RETURN QUERY
      SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
        m.data::varchar, m.metadata::varchar, m.time
      FROM message_store.messages m
      WHERE message_store.category(m.stream_name)::text = ANY (ARRAY[get_category_messages.category::text])
        AND m.global_position >= first
        AND message_store.category(m.metadata ->> 'correlationStreamName')::text = get_category_messages.correlation::text
        AND (size IS NULL OR pg_catalog.mod(pg_catalog.abs(message_store.hash_64(message_store.cardinal_id(m.stream_name))), size) = member)
      ORDER BY message_store.category(m.stream_name)::text, m.global_position
      LIMIT row_limit;
    RETURN;
  END IF;

  RETURN QUERY EXECUTE
    'SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position, data::varchar, metadata::varchar, time'
    ' FROM message_store.messages WHERE (message_store.category(stream_name), global_position) >= ($1, $2)'
    ' AND message_store.category(stream_name) <= $1'
    ' AND ($3 IS NULL OR message_store.category(metadata ->> ''correlationStreamName'') = $3)'
    ' AND ($5 IS NULL OR mod(abs(message_store.hash_64(message_store.cardinal_id(stream_name))), $5) = $4)'
    ' AND (' || get_category_messages.condition || ') ORDER BY message_store.category(stream_name), global_position LIMIT $6'
    USING get_category_messages.category, first, get_category_messages.correlation, member, size, row_limit;
END $_$;


--
-- Name: get_last_stream_message(character varying, character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.get_last_stream_message(stream_name character varying, type character varying DEFAULT NULL::character varying) RETURNS SETOF message_store.message
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
#variable_conflict use_column
BEGIN
  IF message_store.is_on('debug_get') THEN
    RAISE NOTICE '» get_last_message %',
      jsonb_build_object('stream_name', get_last_stream_message.stream_name, 'type', get_last_stream_message.type);
  END IF;

  RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM message_store.messages m
    WHERE m.stream_name = get_last_stream_message.stream_name::text
      AND (get_last_stream_message.type IS NULL OR m.type = get_last_stream_message.type::text)
    ORDER BY m.position DESC
    LIMIT 1;
END $$;


--
-- Name: get_stream_messages(character varying, bigint, bigint, character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.get_stream_messages(stream_name character varying, "position" bigint DEFAULT 0, batch_size bigint DEFAULT 1000, condition character varying DEFAULT NULL::character varying) RETURNS SETOF message_store.message
    LANGUAGE plpgsql
    AS $_$
-- message-store functions 1
#variable_conflict use_column
DECLARE
  first bigint := coalesce(get_stream_messages.position, 0);
  -- No limit at all is -1.
  row_limit bigint := nullif(coalesce(get_stream_messages.batch_size, 1000), -1);
BEGIN
  IF message_store.is_on('debug_get') THEN
    RAISE NOTICE '» get_stream_messages %', jsonb_build_object('stream_name', get_stream_messages.stream_name,
      'position', first, 'batch_size', get_stream_messages.batch_size, 'condition', get_stream_messages.condition);
  END IF;

  IF message_store.is_category(get_stream_messages.stream_name) THEN
    RAISE EXCEPTION 'Must be a stream name: %', get_stream_messages.stream_name;
  END IF;

  IF get_stream_messages.condition IS NULL THEN
    RETURN QUERY
      SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
        m.data::varchar, m.metadata::varchar, m.time
      FROM message_store.messages m
      WHERE m.stream_name = get_stream_messages.stream_name::text AND m.position >= first
      ORDER BY m.position
      LIMIT row_limit;
    RETURN;
  END IF;

  PERFORM message_store.assert_sql_condition();
  RETURN QUERY EXECUTE
    'SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position, data::varchar, metadata::varchar, time'
    ' FROM message_store.messages WHERE stream_name = $1 AND position >= $2'
    ' AND (' || get_stream_messages.condition || ') ORDER BY position LIMIT $3'
    USING get_stream_messages.stream_name, first, row_limit;
END $_$;


--
-- Name: hash_64(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.hash_64(value character varying) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
-- message-store functions 1
SELECT ('x' OPERATOR(pg_catalog.||) pg_catalog."left"(pg_catalog.md5(value), 16))::bit(64)::bigint;
$$;


--
-- Name: horizon(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.horizon() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
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


--
-- Name: id(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.id(stream_name character varying) RETURNS character varying
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
-- message-store functions 1
SELECT CASE WHEN pg_catalog.strpos(stream_name, '-') > 0
  THEN pg_catalog.substr(stream_name, pg_catalog.strpos(stream_name, '-') + 1) END;
$$;


--
-- Name: is_category(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.is_category(stream_name character varying) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
-- message-store functions 1
SELECT coalesce(pg_catalog.strpos(stream_name, '-'), 0) = 0;
$$;


--
-- Name: is_on(text); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.is_on(setting text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
-- message-store functions 1
SELECT coalesce(current_setting('message_store.debug', true) = 'on', false)
  OR coalesce(current_setting('message_store.' || setting, true) = 'on', false);
$$;


--
-- Name: lease_key(text, text, uuid, interval); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.lease_key(leased_scope text, leased_key text, leased_to uuid, duration interval) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
BEGIN
  INSERT INTO message_store.key_leases AS l (scope, key, owner, ends_at)
  VALUES (leased_scope, leased_key, leased_to, clock_timestamp() + duration)
  ON CONFLICT (scope, key) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
  WHERE l.owner = excluded.owner OR l.ends_at <= clock_timestamp();
  RETURN FOUND;
END $$;


--
-- Name: lock_categories(text[]); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
DECLARE
  lock_key bigint;
BEGIN
  -- (Here and below, IF is quicker than PERFORM: an expression is no query.)
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


--
-- Name: lock_category(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.lock_category(stream_name character varying) RETURNS void
    LANGUAGE sql
    AS $$
-- message-store functions 1
SELECT pg_catalog.pg_advisory_xact_lock(message_store.hash_64(message_store.category(stream_name)));
$$;


--
-- Name: message_store_version(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.message_store_version() RETURNS character varying
    LANGUAGE sql
    AS $$
-- message-store functions 1
SELECT '1.3.0'::varchar;
$$;


--
-- Name: next_global_position(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.next_global_position() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
BEGIN
  RETURN coalesce(
    pg_sequence_last_value('message_store.messages_global_position_seq') + 1,
    -- Nothing has been drawn yet.
    (SELECT last_value FROM message_store.messages_global_position_seq)
  );
END $$;


--
-- Name: publish_first_bound(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.publish_first_bound() RETURNS void
    LANGUAGE sql
    AS $$
-- message-store functions 1
SELECT pg_catalog.pg_advisory_xact_lock_shared((6175389::bigint << 40) | (1099511627775
  & coalesce(pg_catalog.pg_sequence_last_value('message_store.messages_global_position_seq') + 1, 0)));
$$;


--
-- Name: publish_later_bound(); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.publish_later_bound() RETURNS void
    LANGUAGE sql
    AS $$
-- message-store functions 1
SELECT pg_catalog.pg_advisory_xact_lock_shared((6175389::bigint << 40) | (1099511627775
  & pg_catalog.set_config('message_store.lower_bound', greatest(0, least(
    nullif(pg_catalog.current_setting('message_store.lower_bound', true), '')::bigint,
    coalesce(pg_catalog.pg_sequence_last_value('message_store.messages_global_position_seq') + 1, 0)
  ))::text, true)::bigint));
$$;


--
-- Name: release_key(text, text, uuid); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.release_key(released_scope text, released_key text, released_by uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
BEGIN
  DELETE FROM message_store.key_leases l WHERE l.scope = released_scope AND l.key = released_key AND l.owner = released_by;
END $$;


--
-- Name: stream_version(character varying); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.stream_version(stream_name character varying) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- message-store functions 1
BEGIN
  RETURN (SELECT max(m.position) FROM message_store.messages m WHERE m.stream_name = stream_version.stream_name::text);
END $$;


--
-- Name: sweep(integer); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.sweep(batch_size integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
DECLARE
  swept bigint;
BEGIN
  DELETE FROM message_store.deduplication
  WHERE ctid = ANY (ARRAY(
    SELECT d.ctid FROM message_store.deduplication d
    WHERE d.expires_at <= clock_timestamp()
    ORDER BY d.expires_at
    LIMIT batch_size
    FOR UPDATE SKIP LOCKED
  )) AND expires_at <= clock_timestamp();
  GET DIAGNOSTICS swept = ROW_COUNT;
  DELETE FROM message_store.key_leases
  WHERE ctid = ANY (ARRAY(
    SELECT l.ctid FROM message_store.key_leases l
    WHERE l.ends_at <= clock_timestamp()
    LIMIT batch_size
    FOR UPDATE SKIP LOCKED
  )) AND ends_at <= clock_timestamp();
  RETURN swept;
END $$;


--
-- Name: take_key(text, text, interval, text, text); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
BEGIN
  INSERT INTO message_store.deduplication AS d (scope, key, taken_at, expires_at, fingerprint, result)
  VALUES (taken_scope, taken_key, clock_timestamp(), clock_timestamp() + lifetime, taken_fingerprint, result_text::jsonb)
  ON CONFLICT (scope, key) DO UPDATE
  SET taken_at = excluded.taken_at, expires_at = excluded.expires_at, fingerprint = excluded.fingerprint, result = excluded.result
  WHERE d.expires_at <= clock_timestamp();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM message_store.key_leases l WHERE l.scope = taken_scope AND l.key = taken_key;
  RETURN true;
END $$;


--
-- Name: write_message(character varying, character varying, character varying, jsonb, jsonb, bigint); Type: FUNCTION; Schema: message_store; Owner: -
--

CREATE FUNCTION message_store.write_message(id character varying, stream_name character varying, type character varying, data jsonb, metadata jsonb DEFAULT NULL::jsonb, expected_version bigint DEFAULT NULL::bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- message-store functions 1
#variable_conflict use_column
DECLARE
  current_version bigint;
BEGIN
  IF message_store.is_on('debug_write') THEN
    RAISE NOTICE '» write_message %', jsonb_build_object('id', write_message.id, 'stream_name', write_message.stream_name,
      'type', write_message.type, 'data', write_message.data, 'metadata', write_message.metadata,
      'expected_version', write_message.expected_version);
  END IF;

  IF message_store.lock_category(write_message.stream_name) IS NULL THEN
    NULL;
  END IF;
  SELECT m.position INTO current_version FROM message_store.messages m WHERE m.stream_name = write_message.stream_name
    ORDER BY m.position DESC LIMIT 1;
  current_version := coalesce(current_version, -1);
  IF write_message.expected_version <> current_version THEN
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_message.expected_version, write_message.stream_name, current_version;
  END IF;
  IF pg_current_xact_id_if_assigned() IS NULL THEN
    IF message_store.publish_first_bound() IS NULL THEN
      NULL;
    END IF;
  ELSIF message_store.publish_later_bound() IS NULL THEN
    NULL;
  END IF;

  IF current_setting('transaction_isolation') = 'read committed' THEN
    INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata)
    VALUES (write_message.id::uuid, write_message.stream_name, current_version + 1, write_message.type,
      write_message.data, write_message.metadata);
    RETURN current_version + 1;
  END IF;

  -- An older snapshot does not see the latest version; the index does.
  DECLARE
    violated text;
  BEGIN
    INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata)
    VALUES (write_message.id::uuid, write_message.stream_name, current_version + 1, write_message.type,
      write_message.data, write_message.metadata);
    RETURN current_version + 1;
  EXCEPTION WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
    IF violated IS DISTINCT FROM 'messages_stream' THEN
      RAISE;
    ELSIF write_message.expected_version IS NULL THEN
      RAISE EXCEPTION USING
        ERRCODE = 'serialization_failure',
        MESSAGE = format('Stream %s was written to since this transaction began', write_message.stream_name),
        HINT = 'Repeat the transaction, or use READ COMMITTED.';
    END IF;
    -- What the stream's version is now cannot be seen from here; it is at least this.
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_message.expected_version, write_message.stream_name, current_version + 1;
  END;
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: messages; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.messages (
    global_position bigint NOT NULL,
    "position" bigint NOT NULL,
    "time" timestamp without time zone DEFAULT (now() AT TIME ZONE 'utc'::text) NOT NULL,
    stream_name text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL COLLATE pg_catalog."C",
    data jsonb,
    metadata jsonb,
    id uuid DEFAULT gen_random_uuid() NOT NULL
);


--
-- Name: category_type_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.category_type_summary AS
 SELECT message_store.category((messages.stream_name)::character varying) AS category,
    messages.type,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY (message_store.category((messages.stream_name)::character varying)), messages.type
  ORDER BY (message_store.category((messages.stream_name)::character varying)), messages.type;


--
-- Name: deduplication; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.deduplication (
    scope text NOT NULL,
    key text NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    fingerprint text NOT NULL,
    result jsonb
);


--
-- Name: key_leases; Type: TABLE; Schema: message_store; Owner: -
--

CREATE UNLOGGED TABLE message_store.key_leases (
    scope text NOT NULL,
    key text NOT NULL,
    owner uuid NOT NULL,
    ends_at timestamp with time zone NOT NULL
);


--
-- Name: messages_global_position_seq; Type: SEQUENCE; Schema: message_store; Owner: -
--

CREATE SEQUENCE message_store.messages_global_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: messages_global_position_seq; Type: SEQUENCE OWNED BY; Schema: message_store; Owner: -
--

ALTER SEQUENCE message_store.messages_global_position_seq OWNED BY message_store.messages.global_position;


--
-- Name: read_models; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.read_models (
    name text NOT NULL,
    global_position bigint NOT NULL
);


--
-- Name: schema_history; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.schema_history (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    checksum text NOT NULL
);


--
-- Name: sql_condition; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.sql_condition (
    only_row boolean DEFAULT true NOT NULL,
    allowed boolean DEFAULT false NOT NULL,
    CONSTRAINT sql_condition_only_row_check CHECK (only_row)
);


--
-- Name: store_identity; Type: TABLE; Schema: message_store; Owner: -
--

CREATE TABLE message_store.store_identity (
    only_row boolean DEFAULT true NOT NULL,
    store_id uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT store_identity_only_row_check CHECK (only_row)
);


--
-- Name: stream_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.stream_summary AS
 SELECT messages.stream_name,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY messages.stream_name
  ORDER BY messages.stream_name;


--
-- Name: stream_type_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.stream_type_summary AS
 SELECT messages.stream_name,
    messages.type,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY messages.stream_name, messages.type
  ORDER BY messages.stream_name, messages.type;


--
-- Name: type_category_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.type_category_summary AS
 SELECT messages.type,
    message_store.category((messages.stream_name)::character varying) AS category,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY messages.type, (message_store.category((messages.stream_name)::character varying))
  ORDER BY messages.type, (message_store.category((messages.stream_name)::character varying));


--
-- Name: type_stream_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.type_stream_summary AS
 SELECT messages.type,
    messages.stream_name,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY messages.type, messages.stream_name
  ORDER BY messages.type, messages.stream_name;


--
-- Name: type_summary; Type: VIEW; Schema: message_store; Owner: -
--

CREATE VIEW message_store.type_summary AS
 SELECT messages.type,
    count(*) AS message_count,
    round((((count(*) * 100))::numeric / sum(count(*)) OVER ()), 2) AS percent
   FROM message_store.messages
  GROUP BY messages.type
  ORDER BY messages.type;


--
-- Name: messages global_position; Type: DEFAULT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.messages ALTER COLUMN global_position SET DEFAULT nextval('message_store.messages_global_position_seq'::regclass);


--
-- Data for Name: deduplication; Type: TABLE DATA; Schema: message_store; Owner: -
--

INSERT INTO message_store.deduplication VALUES ('tests', 'k', '2026-11-25 15:25:07.222761+00', '2026-12-02 15:25:07.222761+00', '74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b', '"done"');


--
-- Data for Name: key_leases; Type: TABLE DATA; Schema: message_store; Owner: -
--



--
-- Data for Name: messages; Type: TABLE DATA; Schema: message_store; Owner: -
--

INSERT INTO message_store.messages VALUES (1, 0, '2026-11-25 15:25:07.210403', 'account-1', 'Deposited', '10', '{"correlationStreamName": "transfer-1"}', '01a2134f-8103-744d-9f1a-61708809ab39');
INSERT INTO message_store.messages VALUES (2, 1, '2026-11-25 15:25:07.210403', 'account-1', 'Deposited', '20', '{"correlationStreamName": "transfer-1"}', '01a2134f-8103-744d-9f1a-617155192dbd');
INSERT INTO message_store.messages VALUES (3, 2, '2026-11-25 15:25:07.224282', 'account-1', 'Deposited', '30', '{"correlationStreamName": "transfer-1"}', '01a2134f-810c-7639-a2a0-de741b5c79b5');


--
-- Data for Name: read_models; Type: TABLE DATA; Schema: message_store; Owner: -
--



--
-- Data for Name: schema_history; Type: TABLE DATA; Schema: message_store; Owner: -
--

INSERT INTO message_store.schema_history VALUES (1, 'messages', '2026-11-25 15:25:07.155628+00', '12920510472310710563');
INSERT INTO message_store.schema_history VALUES (2, 'deduplication', '2026-11-25 15:25:07.155628+00', '15322348926753828252');
INSERT INTO message_store.schema_history VALUES (3, 'read_models', '2026-11-25 15:25:07.155628+00', '3811637854768963996');


--
-- Data for Name: sql_condition; Type: TABLE DATA; Schema: message_store; Owner: -
--

INSERT INTO message_store.sql_condition VALUES (true, false);


--
-- Data for Name: store_identity; Type: TABLE DATA; Schema: message_store; Owner: -
--

INSERT INTO message_store.store_identity VALUES (true, '69a6e580-5d8e-4a2d-ac6c-c19a0ab69a09');


--
-- Name: messages_global_position_seq; Type: SEQUENCE SET; Schema: message_store; Owner: -
--

SELECT pg_catalog.setval('message_store.messages_global_position_seq', 3, true);


--
-- Name: deduplication deduplication_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.deduplication
    ADD CONSTRAINT deduplication_pkey PRIMARY KEY (scope, key);


--
-- Name: key_leases key_leases_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.key_leases
    ADD CONSTRAINT key_leases_pkey PRIMARY KEY (scope, key);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (global_position);


--
-- Name: read_models read_models_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.read_models
    ADD CONSTRAINT read_models_pkey PRIMARY KEY (name);


--
-- Name: schema_history schema_history_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.schema_history
    ADD CONSTRAINT schema_history_pkey PRIMARY KEY (version);


--
-- Name: sql_condition sql_condition_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.sql_condition
    ADD CONSTRAINT sql_condition_pkey PRIMARY KEY (only_row);


--
-- Name: store_identity store_identity_pkey; Type: CONSTRAINT; Schema: message_store; Owner: -
--

ALTER TABLE ONLY message_store.store_identity
    ADD CONSTRAINT store_identity_pkey PRIMARY KEY (only_row);


--
-- Name: deduplication_expires_at; Type: INDEX; Schema: message_store; Owner: -
--

CREATE INDEX deduplication_expires_at ON message_store.deduplication USING btree (expires_at);


--
-- Name: messages_category; Type: INDEX; Schema: message_store; Owner: -
--

CREATE INDEX messages_category ON message_store.messages USING btree (message_store.category((stream_name)::character varying), global_position, message_store.category(((metadata ->> 'correlationStreamName'::text))::character varying));


--
-- Name: messages_id; Type: INDEX; Schema: message_store; Owner: -
--

CREATE UNIQUE INDEX messages_id ON message_store.messages USING btree (id);


--
-- Name: messages_stream; Type: INDEX; Schema: message_store; Owner: -
--

CREATE UNIQUE INDEX messages_stream ON message_store.messages USING btree (stream_name, "position");


--
-- Name: SCHEMA message_store; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA message_store TO message_store;


--
-- Name: FUNCTION acquire_lock(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.acquire_lock(stream_name character varying) TO message_store;


--
-- Name: FUNCTION append_messages(stream_names text[], known_positions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], metadata jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.append_messages(stream_names text[], known_positions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], metadata jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.append_messages(stream_names text[], known_positions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], metadata jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) TO message_store;


--
-- Name: FUNCTION assert_sql_condition(); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.assert_sql_condition() TO message_store;


--
-- Name: FUNCTION cardinal_id(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.cardinal_id(stream_name character varying) TO message_store;


--
-- Name: FUNCTION category(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.category(stream_name character varying) TO message_store;


--
-- Name: FUNCTION decide_appends(stream_names text[], versions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.decide_appends(stream_names text[], versions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.decide_appends(stream_names text[], versions bigint[], append_parts integer[], part_streams integer[], part_expected_versions bigint[], part_sizes integer[], ids uuid[], types text[], data jsonb[], OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[]) TO message_store;


--
-- Name: FUNCTION find_key(found_scope text, found_key text, lifetime interval, is_sliding boolean); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.find_key(found_scope text, found_key text, lifetime interval, is_sliding boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.find_key(found_scope text, found_key text, lifetime interval, is_sliding boolean) TO message_store;


--
-- Name: FUNCTION get_category_messages(category character varying, "position" bigint, batch_size bigint, correlation character varying, consumer_group_member bigint, consumer_group_size bigint, condition character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.get_category_messages(category character varying, "position" bigint, batch_size bigint, correlation character varying, consumer_group_member bigint, consumer_group_size bigint, condition character varying) TO message_store;


--
-- Name: FUNCTION get_last_stream_message(stream_name character varying, type character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.get_last_stream_message(stream_name character varying, type character varying) TO message_store;


--
-- Name: FUNCTION get_stream_messages(stream_name character varying, "position" bigint, batch_size bigint, condition character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.get_stream_messages(stream_name character varying, "position" bigint, batch_size bigint, condition character varying) TO message_store;


--
-- Name: FUNCTION hash_64(value character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.hash_64(value character varying) TO message_store;


--
-- Name: FUNCTION horizon(); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.horizon() TO message_store;


--
-- Name: FUNCTION id(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.id(stream_name character varying) TO message_store;


--
-- Name: FUNCTION is_category(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.is_category(stream_name character varying) TO message_store;


--
-- Name: FUNCTION is_on(setting text); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.is_on(setting text) TO message_store;


--
-- Name: FUNCTION lease_key(leased_scope text, leased_key text, leased_to uuid, duration interval); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.lease_key(leased_scope text, leased_key text, leased_to uuid, duration interval) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.lease_key(leased_scope text, leased_key text, leased_to uuid, duration interval) TO message_store;


--
-- Name: FUNCTION lock_categories(stream_names text[]); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.lock_categories(stream_names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.lock_categories(stream_names text[]) TO message_store;


--
-- Name: FUNCTION lock_category(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.lock_category(stream_name character varying) TO message_store;


--
-- Name: FUNCTION message_store_version(); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.message_store_version() TO message_store;


--
-- Name: FUNCTION next_global_position(); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.next_global_position() TO message_store;


--
-- Name: FUNCTION publish_first_bound(); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.publish_first_bound() FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.publish_first_bound() TO message_store;


--
-- Name: FUNCTION publish_later_bound(); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.publish_later_bound() FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.publish_later_bound() TO message_store;


--
-- Name: FUNCTION release_key(released_scope text, released_key text, released_by uuid); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.release_key(released_scope text, released_key text, released_by uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.release_key(released_scope text, released_key text, released_by uuid) TO message_store;


--
-- Name: FUNCTION stream_version(stream_name character varying); Type: ACL; Schema: message_store; Owner: -
--

GRANT ALL ON FUNCTION message_store.stream_version(stream_name character varying) TO message_store;


--
-- Name: FUNCTION sweep(batch_size integer); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.sweep(batch_size integer) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.sweep(batch_size integer) TO message_store;


--
-- Name: FUNCTION take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text) TO message_store;


--
-- Name: FUNCTION write_message(id character varying, stream_name character varying, type character varying, data jsonb, metadata jsonb, expected_version bigint); Type: ACL; Schema: message_store; Owner: -
--

REVOKE ALL ON FUNCTION message_store.write_message(id character varying, stream_name character varying, type character varying, data jsonb, metadata jsonb, expected_version bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION message_store.write_message(id character varying, stream_name character varying, type character varying, data jsonb, metadata jsonb, expected_version bigint) TO message_store;


--
-- Name: TABLE messages; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.messages TO message_store;


--
-- Name: TABLE category_type_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.category_type_summary TO message_store;


--
-- Name: SEQUENCE messages_global_position_seq; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON SEQUENCE message_store.messages_global_position_seq TO PUBLIC;


--
-- Name: TABLE read_models; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE message_store.read_models TO message_store;


--
-- Name: TABLE schema_history; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.schema_history TO PUBLIC;


--
-- Name: TABLE sql_condition; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.sql_condition TO PUBLIC;


--
-- Name: TABLE store_identity; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.store_identity TO PUBLIC;


--
-- Name: TABLE stream_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.stream_summary TO message_store;


--
-- Name: TABLE stream_type_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.stream_type_summary TO message_store;


--
-- Name: TABLE type_category_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.type_category_summary TO message_store;


--
-- Name: TABLE type_stream_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.type_stream_summary TO message_store;


--
-- Name: TABLE type_summary; Type: ACL; Schema: message_store; Owner: -
--

GRANT SELECT ON TABLE message_store.type_summary TO message_store;


--
-- PostgreSQL database dump complete
--

\unrestrict z65TZaqG65K2yJuKgag3D1fb1vdR6qkplfXohf4OPzZjhFBQvI62u5tv6SmDYNs

