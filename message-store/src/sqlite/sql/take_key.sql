INSERT OR REPLACE INTO deduplication (scope, key, taken_at, expires_at, fingerprint, result)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
