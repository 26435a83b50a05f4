-- The store's identity, and the last global position given out (NULL for a role that may not read the sequence).
SELECT
  (SELECT store_id FROM message_store.store_identity) AS store_id,
  CASE
    WHEN has_sequence_privilege('message_store.messages_global_position_seq', 'SELECT')
      THEN coalesce(pg_sequence_last_value('message_store.messages_global_position_seq'), 0)
  END AS given_out
