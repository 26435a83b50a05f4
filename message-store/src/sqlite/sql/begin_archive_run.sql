INSERT INTO archive_runs (category, through, begun_at) VALUES (?1, ?2, ?3)
