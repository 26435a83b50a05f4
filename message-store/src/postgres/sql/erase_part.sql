SELECT r.number, r.kind, r.name, r.looked_through, r.erased, r.begun_at, r.ended_at
FROM message_store.erase_part($1, $2, $3::text[]::jsonb[], $4::text[]::jsonb[], $5, $6) AS r
