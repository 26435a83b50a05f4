SELECT message_store.lease_key($1, $2, $3, $4::float8 * interval '1 second')
