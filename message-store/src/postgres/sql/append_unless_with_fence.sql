-- As append_with_fence.sql, for an append with a condition.
SELECT positions, global_positions, refusals, written_before, has_waited, message_store.assert_slot($13, $14, $15, $16)
FROM message_store.append_messages_unless($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
