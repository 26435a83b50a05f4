UPDATE erasure_runs SET looked_through = max(looked_through, ?2), erased = erased + ?3, ended_at = ?4 WHERE number = ?1
