-- The role may INSERT: the functions run with its rights.
DO $$ BEGIN CREATE ROLE message_store LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
GRANT USAGE ON SCHEMA message_store TO message_store;
GRANT USAGE, SELECT ON SEQUENCE messages_global_position_seq TO message_store;
GRANT SELECT, INSERT ON messages TO message_store;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO message_store;
