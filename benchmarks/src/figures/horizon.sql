-- The alternative protection for readers of a category: writers do not lock it, but publish a lower bound of the positions that they
-- will draw, marked with the category. Readers stop below the lowest bound of the category. (These functions have the mark of a later
-- version, so opening the store does not replace them.)

CREATE FUNCTION message_store.publish_category_bound(category text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  bound bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO bound FROM message_store.messages_global_position_seq;
  PERFORM pg_advisory_xact_lock_shared(
    (x'35600000'::int | (message_store.hash_64(category) & x'fffff'::bigint)::int),
    ('x' || lpad(to_hex(bound & 4294967295), 8, '0'))::bit(32)::int
  );
END $$;

CREATE OR REPLACE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions 1000
BEGIN
  PERFORM message_store.publish_category_bound(c.name)
  FROM (SELECT DISTINCT message_store.category(stream_name) FROM unnest(stream_names) AS stream_name) AS c (name);
END $$;

CREATE OR REPLACE FUNCTION message_store.lock_category(stream_name varchar) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
-- message-store functions 1000
BEGIN
  PERFORM message_store.publish_category_bound(message_store.category(stream_name));
END $$;

CREATE FUNCTION message_store.category_horizon(category text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  next_position bigint;
  lowest_bound bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO next_position
  FROM message_store.messages_global_position_seq;
  SELECT min(objid::bigint) INTO lowest_bound
  FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = (x'35600000'::bigint | (message_store.hash_64(category) & x'fffff'::bigint));
  RETURN least(next_position, lowest_bound);
END $$;
