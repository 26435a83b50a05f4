-- Saves a snapshot, and prunes those of its stream. The commit does not wait for the disk: a snapshot may be lost.
WITH unsynced AS MATERIALIZED (
  SELECT set_config('synchronous_commit', 'off', true)
), saved AS (
  INSERT INTO message_store.snapshots AS s (stream_name, projection, fingerprint, position, content)
  SELECT $1, $2, $3, $4, $5 FROM unsynced
  ON CONFLICT (stream_name, projection, fingerprint)
  DO UPDATE SET position = excluded.position, content = excluded.content, saved_at = excluded.saved_at
)
DELETE FROM message_store.snapshots s
WHERE s.stream_name = $1 AND (s.projection, s.fingerprint) <> ($2, $3)
  AND (
    s.saved_at < clock_timestamp() - interval '30 days'
    OR s.projection = $2 AND s.fingerprint <> (
      SELECT l.fingerprint FROM message_store.snapshots l
      WHERE l.stream_name = $1 AND l.projection = $2 AND l.fingerprint <> $3
      ORDER BY l.saved_at DESC, l.fingerprint LIMIT 1
    )
  )
