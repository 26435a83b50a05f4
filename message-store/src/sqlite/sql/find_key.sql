SELECT taken_at, fingerprint, result FROM deduplication WHERE scope = ?1 AND key = ?2 AND expires_at > ?3
