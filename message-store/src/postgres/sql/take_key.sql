SELECT message_store.take_key($1, $2, $3::float8 * interval '1 second', $4, $5)
