-- The messages: Message DB's table and indexes.
--
-- Every statement of these migrations can also run in a database with Message DB's own schema (see `migrate --adopt`). Existing
-- objects stay unchanged and are not locked. `CREATE INDEX IF NOT EXISTS` would wait for every open write, and later writes
-- would wait for it.
--
-- The functions are in `functions`. Those scripts run again whenever a function is not the expected one.

-- Names are compared byte by byte. That is faster than comparison by a language's rules, and the indexes stay valid when the
-- system's rules change.
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

DO $$
BEGIN
  IF to_regclass('message_store.messages_id') IS NULL THEN
    CREATE UNIQUE INDEX messages_id ON message_store.messages (id);
  END IF;
  IF to_regclass('message_store.messages_stream') IS NULL THEN
    CREATE UNIQUE INDEX messages_stream ON message_store.messages (stream_name, position);
  END IF;
  -- A read by correlation uses the third column to select rows in the index.
  IF to_regclass('message_store.messages_category') IS NULL THEN
    CREATE INDEX messages_category ON message_store.messages (
      message_store.category(stream_name),
      global_position,
      message_store.category(metadata ->> 'correlationStreamName')
    );
  END IF;
END $$;

-- One row: the identity of the store, which qualifies its global positions.
CREATE TABLE message_store.store_identity (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  store_id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO message_store.store_identity DEFAULT VALUES;

-- One row: whether a session may insert an SQL condition into a read. The owner allows it (UPDATE message_store.sql_condition
-- SET allowed = true). A session must then also set message_store.sql_condition, as with Message DB. The session's setting
-- alone is not a security boundary.
CREATE TABLE message_store.sql_condition (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  allowed boolean NOT NULL DEFAULT false
);

INSERT INTO message_store.sql_condition DEFAULT VALUES;
