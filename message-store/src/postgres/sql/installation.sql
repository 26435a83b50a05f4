-- Whether the schema message_store has the table of messages, and this library's history of migrations.
SELECT
  to_regclass('message_store.messages') IS NOT NULL AS has_messages,
  to_regclass('message_store.schema_history') IS NOT NULL AS has_history
