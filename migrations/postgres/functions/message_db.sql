-- Message DB's functions, for clients in any language: names, arguments, results and error texts are its, to the letter.
--
-- Ours differ in that they resolve with any search_path, that those who write through them need no right on the table, and
-- that a version conflict is told as one under every isolation level.

DO $$
BEGIN
  IF to_regtype('message_store.message') IS NULL THEN
    CREATE TYPE message_store.message AS (
      id varchar,
      stream_name varchar,
      type varchar,
      position bigint,
      global_position bigint,
      data varchar,
      metadata varchar,
      time timestamp
    );
  END IF;
END $$;

-- Before 1.3.0 it had one argument. Beside ours, a call with one argument would be ambiguous.
DROP FUNCTION IF EXISTS message_store.get_last_stream_message(varchar);

CREATE OR REPLACE FUNCTION message_store.message_store_version() RETURNS varchar
LANGUAGE sql VOLATILE AS $$
-- message-store functions {version}
SELECT '1.3.0'::varchar;
$$;

-- Whether this setting of Message DB is on, or the one for all: then functions say what they were asked.
CREATE OR REPLACE FUNCTION message_store.is_on(setting text) RETURNS boolean
LANGUAGE sql STABLE AS $$
-- message-store functions {version}
SELECT coalesce(current_setting('message_store.debug', true) = 'on', false)
  OR coalesce(current_setting('message_store.' || setting, true) = 'on', false);
$$;

CREATE OR REPLACE FUNCTION message_store.assert_sql_condition() RETURNS void
LANGUAGE plpgsql STABLE AS $$
-- message-store functions {version}
BEGIN
  IF NOT (SELECT allowed FROM message_store.sql_condition)
    OR coalesce(current_setting('message_store.sql_condition', true), 'off') = 'off'
  THEN
    RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
  END IF;
END $$;

-- The lock of the stream's category, until the transaction ends. (Functions of one query are in plpgsql, which keeps the plan: one in SQL
-- is planned anew in each transaction, unless the planner can put it in the place of the call.)
CREATE OR REPLACE FUNCTION message_store.acquire_lock(stream_name varchar) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
BEGIN
  PERFORM message_store.lock_category(stream_name);
  RETURN message_store.hash_64(message_store.category(stream_name));
END $$;

CREATE OR REPLACE FUNCTION message_store.stream_version(stream_name varchar) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
BEGIN
  RETURN (SELECT max(m.position) FROM ONLY message_store.messages m WHERE m.stream_name = stream_version.stream_name::text);
END $$;

CREATE OR REPLACE FUNCTION message_store.write_message(
  id varchar,
  stream_name varchar,
  "type" varchar,
  data jsonb,
  metadata jsonb DEFAULT NULL,
  expected_version bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
#variable_conflict use_column
DECLARE
  current_version bigint;
  is_archived boolean;
BEGIN
  IF message_store.is_on('debug_write') THEN
    RAISE NOTICE '» write_message %', jsonb_build_object('id', write_message.id, 'stream_name', write_message.stream_name,
      'type', write_message.type, 'data', write_message.data, 'metadata', write_message.metadata,
      'expected_version', write_message.expected_version);
  END IF;

  IF message_store.lock_category(write_message.stream_name) IS NULL THEN
    NULL;
  END IF;
  SELECT
    (SELECT m.position FROM ONLY message_store.messages m WHERE m.stream_name = write_message.stream_name ORDER BY m.position DESC LIMIT 1),
    EXISTS (SELECT FROM message_store.archived_messages m WHERE m.id = write_message.id::uuid)
  INTO current_version, is_archived;
  current_version := coalesce(current_version, -1);
  IF write_message.expected_version <> current_version THEN
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_message.expected_version, write_message.stream_name, current_version;
  END IF;
  IF is_archived THEN
    -- As the index of the table of messages says it.
    RAISE EXCEPTION USING
      ERRCODE = 'unique_violation',
      MESSAGE = 'duplicate key value violates unique constraint "messages_id"',
      DETAIL = format('Key (id)=(%s) already exists.', write_message.id),
      SCHEMA = 'message_store', TABLE = 'messages', CONSTRAINT = 'messages_id';
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
    -- The index does not see the archive, and the snapshot does not see what has moved there since. (A sequence is of no snapshot.)
    IF pg_sequence_last_value('message_store.archive_runs_number_seq') IS NOT NULL THEN
      RAISE EXCEPTION USING
        ERRCODE = 'feature_not_supported',
        MESSAGE = format('a message cannot be written in a transaction that is %s, because there is an archive', current_setting('transaction_isolation')),
        HINT = 'Begin the transaction with READ COMMITTED.';
    END IF;
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

CREATE OR REPLACE FUNCTION message_store.get_stream_messages(
  stream_name varchar,
  "position" bigint DEFAULT 0,
  batch_size bigint DEFAULT 1000,
  condition varchar DEFAULT NULL
) RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
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
END $$;

-- (Operands are cast to the types of PostgreSQL's own operators: an operator of another schema that fits better would take its place.)
--
-- The category is asked for as a range, from it to itself, and by (category, global position): so that messages_category is the one
-- index that yields the order, and no statistics can talk the planner into walking the whole table for it. Parallel workers cost
-- more to start than a batch costs to read.
CREATE OR REPLACE FUNCTION message_store.get_category_messages(
  category varchar,
  "position" bigint DEFAULT 1,
  batch_size bigint DEFAULT 1000,
  correlation varchar DEFAULT NULL,
  consumer_group_member bigint DEFAULT NULL,
  consumer_group_size bigint DEFAULT NULL,
  condition varchar DEFAULT NULL
) RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE SET max_parallel_workers_per_gather = 0 AS $$
-- message-store functions {version}
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
END $$;

CREATE OR REPLACE FUNCTION message_store.get_last_stream_message(
  stream_name varchar,
  type varchar DEFAULT NULL
) RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions {version}
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
