-- The role message_store: what Message DB's clients log in as. It writes through functions alone.
-- (Where Message DB has granted it more, that is revoked after the adoption, when no call of an old function is under way.)

DO $$
BEGIN
  CREATE ROLE message_store LOGIN;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;
  WHEN insufficient_privilege THEN
    RAISE WARNING 'the role message_store is not there, and this user may not create it: nothing is granted to it';
END $$;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    RETURN;
  END IF;

  GRANT USAGE ON SCHEMA message_store TO message_store;
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO message_store;

  GRANT SELECT ON message_store.messages, message_store.store_identity, message_store.sql_condition,
    message_store.schema_history, message_store.stream_summary, message_store.type_summary,
    message_store.stream_type_summary, message_store.type_stream_summary, message_store.category_type_summary,
    message_store.type_category_summary TO message_store;
  GRANT SELECT ON SEQUENCE message_store.messages_global_position_seq TO message_store;
END $$;
