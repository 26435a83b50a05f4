UPDATE archive_runs SET looked_through = ?2, moved = ?3, ended_at = ?4 WHERE number = ?1
