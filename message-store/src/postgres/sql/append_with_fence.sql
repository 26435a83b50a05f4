-- Appends, and fails at the end if the slot is lost. So nothing of the caller's happens between the check and the commit.
SELECT positions, global_positions, refusals, written_before, has_waited, message_store.assert_slot($12, $13, $14, $15)
FROM message_store.append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
