-- De-duplication with a window: keys of what came from outside, with what was answered.
--
-- Key, messages and answer are written in one transaction, or none is: there is no state in between that a crash could leave
-- behind. Whether a key has expired is asked by the statement that takes it, by this database's clock; sweeping is nothing
-- but garbage collection.

CREATE TABLE message_store.deduplication (
  scope text NOT NULL,
  key text NOT NULL,
  seen_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  fingerprint text NOT NULL,
  result jsonb,
  PRIMARY KEY (scope, key)
);

CREATE INDEX deduplication_expires_at ON message_store.deduplication (expires_at);

-- The key's holder, unless it has expired; with is_sliding, its window begins anew.
CREATE FUNCTION message_store.seen(seen_scope text, seen_key text, lifetime interval, is_sliding boolean)
RETURNS TABLE (first_seen_at timestamptz, first_fingerprint text, first_result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF is_sliding THEN
    UPDATE message_store.deduplication d SET expires_at = clock_timestamp() + lifetime
    WHERE d.scope = seen_scope AND d.key = seen_key AND d.expires_at > clock_timestamp();
  END IF;
  RETURN QUERY
    SELECT d.seen_at, d.fingerprint, d.result::text
    FROM message_store.deduplication d
    WHERE d.scope = seen_scope AND d.key = seen_key AND d.expires_at > clock_timestamp();
END $$;

-- Takes the key, if it is free or has expired. Whoever comes while another transaction takes it waits for that to end.
CREATE FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO message_store.deduplication AS d (scope, key, seen_at, expires_at, fingerprint, result)
  VALUES (taken_scope, taken_key, clock_timestamp(), clock_timestamp() + lifetime, taken_fingerprint, result_text::jsonb)
  ON CONFLICT (scope, key) DO UPDATE
  SET seen_at = excluded.seen_at, expires_at = excluded.expires_at, fingerprint = excluded.fingerprint, result = excluded.result
  WHERE d.expires_at <= clock_timestamp();
  RETURN FOUND;
END $$;

-- Removes expired keys, so many at a time: what others are working on is passed over, and no key is removed that has been
-- taken again.
CREATE FUNCTION message_store.sweep(batch_size int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  swept bigint;
BEGIN
  DELETE FROM message_store.deduplication
  WHERE ctid = ANY (ARRAY(
    SELECT d.ctid FROM message_store.deduplication d
    WHERE d.expires_at <= clock_timestamp()
    ORDER BY d.expires_at
    LIMIT batch_size
    FOR UPDATE SKIP LOCKED
  )) AND expires_at <= clock_timestamp();
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN swept;
END $$;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    GRANT EXECUTE ON FUNCTION message_store.seen, message_store.take_key, message_store.sweep TO message_store;
  END IF;
END $$;
