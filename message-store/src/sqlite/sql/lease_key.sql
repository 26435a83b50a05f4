INSERT INTO key_leases (scope, key, owner, ends_at) VALUES (?1, ?2, ?3, ?5)
ON CONFLICT (scope, key) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
WHERE owner = excluded.owner OR ends_at <= ?4
