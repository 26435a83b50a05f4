SELECT number, kind, name, looked_through, erased, begun_at, ended_at FROM erasure_runs WHERE kind = ?1 AND name = ?2 AND ended_at IS NULL
