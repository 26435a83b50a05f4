-- The messages: Message DB's table and indexes, and what its stream names mean.
--
-- Every statement of these migrations can also be carried out where Message DB has installed its own (see `migrate --adopt`):
-- what is there stays, and functions are replaced. Every name is qualified, so that functions resolve with any search_path.

-- Names are compared byte by byte: that is quicker than by the rules of a language, and an update of the system's rules leaves
-- the indexes as they are.

CREATE SCHEMA IF NOT EXISTS message_store;

CREATE TABLE IF NOT EXISTS message_store.messages (
  global_position bigserial NOT NULL,
  position bigint NOT NULL,
  time timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
  stream_name text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  data jsonb,
  metadata jsonb,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  CONSTRAINT messages_pkey PRIMARY KEY (global_position)
);

-- One row: which store a global position belongs to.
CREATE TABLE message_store.store_identity (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  store_id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO message_store.store_identity DEFAULT VALUES;

-- The separator of category and id is the first hyphen.

CREATE OR REPLACE FUNCTION message_store.category(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(stream_name, '-', 1);

CREATE OR REPLACE FUNCTION message_store.id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN position('-' IN stream_name) > 0 THEN substring(stream_name FROM position('-' IN stream_name) + 1) END;

-- The id up to the first plus sign: the entity's own.
CREATE OR REPLACE FUNCTION message_store.cardinal_id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(message_store.id(stream_name), '+', 1);

CREATE OR REPLACE FUNCTION message_store.is_category(stream_name varchar) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(position('-' IN stream_name), 0) = 0;

-- The first eight bytes of the MD5, as a signed number.
CREATE OR REPLACE FUNCTION message_store.hash_64(value varchar) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || left(md5(value), 16))::bit(64)::bigint;

CREATE UNIQUE INDEX IF NOT EXISTS messages_id ON message_store.messages (id);
CREATE UNIQUE INDEX IF NOT EXISTS messages_stream ON message_store.messages (stream_name, position);
-- (Message DB's has the correlated category as well. It decides nothing: those who ask for one read the rows all the same.)
CREATE INDEX IF NOT EXISTS messages_category ON message_store.messages (
  message_store.category(stream_name),
  global_position
);
