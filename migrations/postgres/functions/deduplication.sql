-- De-duplication with a window: the functions that take, find, lease and remove keys. The roles that write need no right on the tables.

-- The record of the key, unless it has expired; with is_sliding, its window begins anew.
CREATE OR REPLACE FUNCTION message_store.find_key(found_scope text, found_key text, lifetime interval, is_sliding boolean)
RETURNS TABLE (first_taken_at timestamptz, first_fingerprint text, first_result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
BEGIN
  IF is_sliding THEN
    UPDATE message_store.deduplication d SET expires_at = clock_timestamp() + lifetime
    WHERE d.scope = found_scope AND d.key = found_key AND d.expires_at > clock_timestamp();
  END IF;
  RETURN QUERY
    SELECT d.taken_at, d.fingerprint, d.result::text
    FROM message_store.deduplication d
    WHERE d.scope = found_scope AND d.key = found_key AND d.expires_at > clock_timestamp();
END $$;

-- Takes the key, if it is free or has expired; the lease of it ends. A call waits for another transaction that is taking the key.
CREATE OR REPLACE FUNCTION message_store.take_key(taken_scope text, taken_key text, lifetime interval, taken_fingerprint text, result_text text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
BEGIN
  INSERT INTO message_store.deduplication AS d (scope, key, taken_at, expires_at, fingerprint, result)
  VALUES (taken_scope, taken_key, clock_timestamp(), clock_timestamp() + lifetime, taken_fingerprint, result_text::jsonb)
  ON CONFLICT (scope, key) DO UPDATE
  SET taken_at = excluded.taken_at, expires_at = excluded.expires_at, fingerprint = excluded.fingerprint, result = excluded.result
  WHERE d.expires_at <= clock_timestamp();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM message_store.key_leases l WHERE l.scope = taken_scope AND l.key = taken_key;
  RETURN true;
END $$;

-- Leases the key to this owner, from now on, unless another one has a lease that has not ended.
CREATE OR REPLACE FUNCTION message_store.lease_key(leased_scope text, leased_key text, leased_to uuid, duration interval) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
BEGIN
  INSERT INTO message_store.key_leases AS l (scope, key, owner, ends_at)
  VALUES (leased_scope, leased_key, leased_to, clock_timestamp() + duration)
  ON CONFLICT (scope, key) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
  WHERE l.owner = excluded.owner OR l.ends_at <= clock_timestamp();
  RETURN FOUND;
END $$;

-- Ends the owner's lease of the key.
CREATE OR REPLACE FUNCTION message_store.release_key(released_scope text, released_key text, released_by uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
BEGIN
  DELETE FROM message_store.key_leases l WHERE l.scope = released_scope AND l.key = released_key AND l.owner = released_by;
END $$;

-- Removes expired keys, so many at a time: what others are working on is passed over, and no key is removed that has been
-- taken again. Leases that have ended are removed as well, and not counted.
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
  DELETE FROM message_store.key_leases
  WHERE ctid = ANY (ARRAY(
    SELECT l.ctid FROM message_store.key_leases l
    WHERE l.ends_at <= clock_timestamp()
    LIMIT batch_size
    FOR UPDATE SKIP LOCKED
  )) AND ends_at <= clock_timestamp();
  RETURN swept;
END $$;
