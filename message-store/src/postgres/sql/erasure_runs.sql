SELECT r.number, r.kind, r.name, r.looked_through, r.erased, r.begun_at, r.ended_at
FROM message_store.erasure_runs AS r
ORDER BY r.number
