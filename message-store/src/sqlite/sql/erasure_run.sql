SELECT number, kind, name, looked_through, erased, begun_at, ended_at FROM erasure_runs WHERE number = ?1
