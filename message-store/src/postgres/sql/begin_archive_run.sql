SELECT r.number, r.category, r.through, r.looked_through, r.moved, r.begun_at, r.ended_at
FROM message_store.begin_archive_run($1, $2) AS r
