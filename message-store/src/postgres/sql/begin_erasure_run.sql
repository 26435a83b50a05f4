SELECT r.number, r.kind, r.name, r.looked_through, r.erased, r.begun_at, r.ended_at
FROM message_store.begin_erasure_run($1, $2) AS r
