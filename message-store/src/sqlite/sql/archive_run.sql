SELECT number, category, through, looked_through, moved, begun_at, ended_at FROM archive_runs WHERE number = ?1
