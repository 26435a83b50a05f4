DELETE FROM deduplication WHERE (scope, key) IN
  (SELECT scope, key FROM deduplication WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
