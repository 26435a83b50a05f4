-- A substitute for Message DB's functions, written for these tests from its documented contract. As in the original, the functions replace
-- existing ones, call each other without naming the schema, and run with the caller's rights.
CREATE OR REPLACE FUNCTION message_store_version() RETURNS varchar LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN '{version}'; END $$;

CREATE OR REPLACE FUNCTION category(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN split_part(stream_name, '-', 1); END $$;

CREATE OR REPLACE FUNCTION id(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF strpos(stream_name, '-') = 0 THEN RETURN NULL; END IF;
  RETURN substr(stream_name, strpos(stream_name, '-') + 1);
END $$;

CREATE OR REPLACE FUNCTION cardinal_id(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN split_part(id(stream_name), '+', 1); END $$;

CREATE OR REPLACE FUNCTION is_category(stream_name varchar) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN coalesce(strpos(stream_name, '-'), 0) = 0; END $$;

CREATE OR REPLACE FUNCTION hash_64(value varchar) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN ('x' || left(md5(value), 16))::bit(64)::bigint; END $$;

CREATE OR REPLACE FUNCTION acquire_lock(stream_name varchar) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hash_64(category(stream_name)));
  RETURN hash_64(category(stream_name));
END $$;

CREATE OR REPLACE FUNCTION stream_version(stream_name varchar) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN RETURN (SELECT max(m.position) FROM messages m WHERE m.stream_name = stream_version.stream_name); END $$;

CREATE OR REPLACE FUNCTION write_message(
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

CREATE OR REPLACE FUNCTION get_stream_messages(
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

CREATE OR REPLACE FUNCTION get_category_messages(
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
      AND (correlation IS NULL OR category(m.metadata->>'correlationStreamName') = correlation)
    ORDER BY m.global_position LIMIT get_category_messages.batch_size;
END $$;
