-- The messages: Message DB's table and indexes.
--
-- Every statement of these migrations can also be carried out where Message DB has installed its own (see `migrate --adopt`). What
-- stands there is left as it is without a lock on it: `CREATE INDEX IF NOT EXISTS` would wait for every open write, and
-- all others behind it.
--
-- The functions are not here but in `functions`, whose scripts are carried out again whenever a function is not as it should be.

-- Names are compared byte by byte: that is quicker than by the rules of a language, and an update of the system's rules leaves
-- the indexes as they are.
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
  -- The correlated category decides in the index which rows a read by correlation looks at.
  IF to_regclass('message_store.messages_category') IS NULL THEN
    CREATE INDEX messages_category ON message_store.messages (
      message_store.category(stream_name),
      global_position,
      message_store.category(metadata ->> 'correlationStreamName')
    );
  END IF;
END $$;

-- One row: which store a global position belongs to.
CREATE TABLE message_store.store_identity (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  store_id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO message_store.store_identity DEFAULT VALUES;

-- Whether a condition may be pasted into a query. The owner allows it (UPDATE message_store.sql_condition SET allowed = true),
-- and then a session has to ask for it, as with Message DB. A session's setting alone is no security boundary.
CREATE TABLE message_store.sql_condition (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  allowed boolean NOT NULL DEFAULT false
);

INSERT INTO message_store.sql_condition DEFAULT VALUES;
