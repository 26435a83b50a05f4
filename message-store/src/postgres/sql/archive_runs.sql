SELECT number, category, through, looked_through, moved, begun_at, ended_at FROM message_store.archive_runs ORDER BY number
