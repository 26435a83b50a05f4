DELETE FROM snapshots WHERE stream_name = ?1
