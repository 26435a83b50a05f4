INSERT INTO erasure_runs (kind, name, begun_at) VALUES (?1, ?2, ?3)
