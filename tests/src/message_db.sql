-- A database as Message DB 1.3.0 leaves it, as far as its clients can tell, written for these tests from its documented contract.
-- Like the original, functions call each other without naming the schema, nothing is SECURITY DEFINER, and the role may INSERT.

CREATE SCHEMA message_store;
SET search_path = message_store, public;

CREATE TABLE messages (
  global_position bigserial NOT NULL PRIMARY KEY,
  position bigint NOT NULL,
  time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
  stream_name text NOT NULL,
  type text NOT NULL,
  data jsonb,
  metadata jsonb,
  id uuid NOT NULL DEFAULT gen_random_uuid()
);

CREATE TYPE message AS (
  id varchar, stream_name varchar, type varchar, position bigint, global_position bigint, data varchar, metadata varchar,
  time timestamp
);

CREATE FUNCTION message_store_version() RETURNS varchar LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN '1.3.0'; END $$;

CREATE FUNCTION category(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN split_part(stream_name, '-', 1); END $$;

CREATE FUNCTION id(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF strpos(stream_name, '-') = 0 THEN RETURN NULL; END IF;
  RETURN substr(stream_name, strpos(stream_name, '-') + 1);
END $$;

CREATE FUNCTION cardinal_id(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN split_part(id(stream_name), '+', 1); END $$;

CREATE FUNCTION is_category(stream_name varchar) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN coalesce(strpos(stream_name, '-'), 0) = 0; END $$;

CREATE FUNCTION hash_64(value varchar) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN ('x' || left(md5(value), 16))::bit(64)::bigint; END $$;

CREATE FUNCTION acquire_lock(stream_name varchar) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hash_64(category(stream_name)));
  RETURN hash_64(category(stream_name));
END $$;

CREATE FUNCTION stream_version(stream_name varchar) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN RETURN (SELECT max(m.position) FROM messages m WHERE m.stream_name = stream_version.stream_name); END $$;

CREATE FUNCTION write_message(
  id varchar, stream_name varchar, "type" varchar, data jsonb, metadata jsonb DEFAULT NULL, expected_version bigint DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  version bigint;
BEGIN
  PERFORM acquire_lock(write_message.stream_name);
  version := coalesce(stream_version(write_message.stream_name), -1);
  IF write_message.expected_version <> version THEN
    RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
      write_message.expected_version, write_message.stream_name, version;
  END IF;
  INSERT INTO messages (id, stream_name, position, type, data, metadata)
  VALUES (write_message.id::uuid, write_message.stream_name, version + 1, write_message.type, write_message.data,
    write_message.metadata);
  RETURN version + 1;
END $$;

CREATE FUNCTION get_stream_messages(
  stream_name varchar, "position" bigint DEFAULT 0, batch_size bigint DEFAULT 1000, condition varchar DEFAULT NULL
) RETURNS SETOF message LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF is_category(get_stream_messages.stream_name) THEN
    RAISE EXCEPTION 'Must be a stream name: %', get_stream_messages.stream_name;
  END IF;
  RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position, m.data::varchar,
      m.metadata::varchar, m.time
    FROM messages m
    WHERE m.stream_name = get_stream_messages.stream_name AND m.position >= get_stream_messages.position
    ORDER BY m.position LIMIT get_stream_messages.batch_size;
END $$;

CREATE FUNCTION get_category_messages(
  category varchar, "position" bigint DEFAULT 1, batch_size bigint DEFAULT 1000, correlation varchar DEFAULT NULL,
  consumer_group_member bigint DEFAULT NULL, consumer_group_size bigint DEFAULT NULL, condition varchar DEFAULT NULL
) RETURNS SETOF message LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position, m.data::varchar,
      m.metadata::varchar, m.time
    FROM messages m
    WHERE category(m.stream_name) = get_category_messages.category
      AND m.global_position >= get_category_messages.position
    ORDER BY m.global_position LIMIT get_category_messages.batch_size;
END $$;

CREATE FUNCTION get_last_stream_message(stream_name varchar, type varchar DEFAULT NULL)
RETURNS SETOF message LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position, m.data::varchar,
      m.metadata::varchar, m.time
    FROM messages m
    WHERE m.stream_name = get_last_stream_message.stream_name
      AND (get_last_stream_message.type IS NULL OR m.type = get_last_stream_message.type)
    ORDER BY m.position DESC LIMIT 1;
END $$;

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);
CREATE INDEX messages_category ON messages (category(stream_name), global_position, category(metadata ->> 'correlationStreamName'));

CREATE VIEW stream_summary AS
  SELECT stream_name, count(id) AS message_count, round(count(id)::decimal * 100 / sum(count(id)) OVER (), 2) AS percent
  FROM messages GROUP BY stream_name ORDER BY stream_name;

DO $$ BEGIN CREATE ROLE message_store LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
GRANT USAGE ON SCHEMA message_store TO message_store;
GRANT USAGE, SELECT ON SEQUENCE messages_global_position_seq TO message_store;
GRANT SELECT, INSERT ON messages TO message_store;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO message_store;
