SELECT first_seen_at, first_fingerprint, first_result
FROM message_store.seen($1, $2, $3::float8 * interval '1 second', $4)
