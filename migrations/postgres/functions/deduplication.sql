-- De-duplication with a window: the functions that take, find and remove keys. The roles that write need no right on the table.

-- The key's holder, unless it has expired; with is_sliding, its window begins anew.
CREATE OR REPLACE FUNCTION message_store.seen(seen_scope text, seen_key text, lifetime interval, is_sliding boolean)
RETURNS TABLE (first_seen_at timestamptz, first_fingerprint text, first_result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
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

-- Takes the key, if it is free or has expired. A call waits for another transaction that is taking the key.
CREATE OR REPLACE FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
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
CREATE OR REPLACE FUNCTION message_store.sweep(batch_size int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
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
