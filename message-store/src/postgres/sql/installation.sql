-- What stands in the schema message_store: its table, our history.
SELECT
  to_regclass('message_store.messages') IS NOT NULL AS has_messages,
  to_regclass('message_store.schema_history') IS NOT NULL AS has_history
