-- Appends. If the messages are new, changes the timers $12. Fails at the end if the slot is lost. So nothing of the caller's happens
-- between the check and the commit.
SELECT positions, global_positions, refusals, written_before, has_waited,
  CASE WHEN $12::jsonb IS NOT NULL AND refusals[1] IS NULL AND written_before[1] IS NOT TRUE THEN message_store.change_timers($12) END,
  CASE WHEN $13::text IS NOT NULL THEN message_store.assert_slot($13, $14, $15, $16) END
FROM message_store.append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
