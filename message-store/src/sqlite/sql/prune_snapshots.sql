DELETE FROM snapshots
WHERE stream_name = ?1 AND (projection, fingerprint) <> (?2, ?3)
  AND (
    saved_at < ?4
    OR projection = ?2 AND fingerprint <> (
      SELECT l.fingerprint FROM snapshots l
      WHERE l.stream_name = ?1 AND l.projection = ?2 AND l.fingerprint <> ?3
      ORDER BY l.saved_at DESC, l.rowid DESC LIMIT 1
    )
  )
