SELECT positions, global_positions, refusals, written_before, has_waited
FROM message_store.append_messages_unless($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
