SELECT first_taken_at, first_fingerprint, first_result
FROM message_store.find_key($1, $2, $3::float8 * interval '1 second', $4)
