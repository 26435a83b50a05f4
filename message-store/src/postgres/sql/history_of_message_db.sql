-- As history_of_store.sql, for Message DB's own schema, which stores no identity.
SELECT
  NULL AS store_id,
  CASE
    WHEN has_sequence_privilege('message_store.messages_global_position_seq', 'SELECT')
      THEN coalesce(pg_sequence_last_value('message_store.messages_global_position_seq'), 0)
  END AS given_out
