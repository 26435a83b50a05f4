SELECT number, category, through, looked_through, moved, begun_at, ended_at FROM archive_runs
WHERE category = ?1 AND ended_at IS NULL
