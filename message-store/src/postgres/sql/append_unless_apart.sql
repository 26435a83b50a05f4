-- As append_apart.sql, for an append with a condition.
SELECT positions, global_positions, refusals, written_before, has_waited,
  CASE WHEN $13::jsonb IS NOT NULL AND refusals[1] IS NULL AND written_before[1] IS NOT TRUE THEN message_store.change_timers($13) END,
  CASE WHEN $14::text IS NOT NULL THEN message_store.assert_slot($14, $15, $16, $17) END
FROM message_store.append_messages_unless($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
