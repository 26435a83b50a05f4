-- The table before 1.2.4: the same columns in another order.
CREATE TABLE messages (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  stream_name text NOT NULL,
  type text NOT NULL,
  position bigint NOT NULL,
  global_position bigserial NOT NULL PRIMARY KEY,
  data jsonb,
  metadata jsonb,
  time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
