INSERT INTO snapshots (stream_name, projection, fingerprint, position, content, saved_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (stream_name, projection, fingerprint)
DO UPDATE SET position = excluded.position, content = excluded.content, saved_at = excluded.saved_at
