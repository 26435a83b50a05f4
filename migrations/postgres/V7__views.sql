-- Up to where read models are: written in the transaction that changes them.
CREATE TABLE message_store.view_positions (
  view text PRIMARY KEY,
  global_position bigint NOT NULL
);

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    GRANT SELECT, INSERT, UPDATE ON message_store.view_positions TO message_store;
  END IF;
END $$;
