-- Timers.
--
-- Problem: appends that change timers have locked categories, and then lock timers. If a call that fires timers locked the timers
-- first, and then the categories of their messages, the two could wait for each other. So it locks the categories first, and passes over
-- timers that others are changing.

-- Carries out changes of timers, given as a JSON array, and returns the result of each. Timers are locked in the order of their keys, so
-- that two calls never wait for each other.
CREATE OR REPLACE FUNCTION message_store.change_timers(changes jsonb) RETURNS text[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
DECLARE
  change jsonb;
  number bigint;
  due timestamptz;
  result text;
  results text[] := array_fill(NULL::text, ARRAY[jsonb_array_length(changes)]);
BEGIN
  FOR change, number IN
    SELECT c.value, c.ordinality FROM jsonb_array_elements(changes) WITH ORDINALITY AS c
    ORDER BY c.value ->> 'stream' COLLATE "C", c.value ->> 'name' COLLATE "C", c.ordinality
  LOOP
    due := coalesce((change ->> 'at')::timestamptz, clock_timestamp() + (change ->> 'after')::float8 * interval '1 second');
    result := NULL;
    CASE change ->> 'change'
    WHEN 'set' THEN
      -- (Another message may have the id. Then the timer gets another one when it fires.)
      IF EXISTS (
        SELECT FROM message_store.messages m
        WHERE m.id = (change ->> 'id')::uuid AND m.stream_name = change ->> 'to' AND m.type = change ->> 'type'
      ) THEN
        result := 'fired';
      ELSE
        INSERT INTO message_store.timers AS t (stream, name, due_at, to_stream, id, type, data, metadata)
        VALUES (change ->> 'stream', change ->> 'name', due, change ->> 'to', (change ->> 'id')::uuid, change ->> 'type',
          change -> 'data', change -> 'metadata')
        ON CONFLICT (stream, name) DO UPDATE SET
          due_at = CASE change ->> 'ifWaiting' WHEN 'keepDue' THEN t.due_at ELSE excluded.due_at END,
          to_stream = excluded.to_stream, id = excluded.id, type = excluded.type, data = excluded.data,
          metadata = excluded.metadata, changes = t.changes + 1
        WHERE t.id <> excluded.id AND change ->> 'ifWaiting' <> 'keep'
        RETURNING CASE WHEN t.changes = 0 THEN 'set' ELSE 'replaced' END INTO result;
        result := coalesce(result, 'kept');
      END IF;
    WHEN 'move' THEN
      UPDATE message_store.timers t SET due_at = due, changes = t.changes + 1
      WHERE t.stream = change ->> 'stream' AND t.name = change ->> 'name'
      RETURNING 'moved' INTO result;
    WHEN 'redact' THEN
      UPDATE message_store.timers t SET data = change -> 'data', metadata = change -> 'metadata'
      WHERE t.stream = change ->> 'stream' AND t.name = change ->> 'name' AND t.id = (change ->> 'id')::uuid
      RETURNING 'redacted' INTO result;
    WHEN 'cancel' THEN
      DELETE FROM message_store.timers t
      WHERE t.stream = change ->> 'stream' AND t.name = change ->> 'name'
      RETURNING 'cancelled' INTO result;
    END CASE;
    results[number] := coalesce(result, 'notWaiting');
  END LOOP;
  RETURN results;
END $$;

-- Writes the messages of those of these timers that wait with this id and time, and removes them. Returns the number of timers that were
-- removed, and the streams that have new messages.
CREATE OR REPLACE FUNCTION message_store.fire_timers(
  streams text[],
  names text[],
  ids uuid[],
  due_times timestamptz[],
  OUT fired bigint,
  OUT written_to text[]
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
DECLARE
  waiting message_store.timers[];
  targets text[];
  answer record;
  removed message_store.timers;
  number int;
BEGIN
  fired := 0;
  targets := ARRAY(
    SELECT DISTINCT t.to_stream FROM message_store.timers t
    JOIN unnest(streams, names, ids, due_times) AS n (stream, name, id, due_at)
      ON t.stream = n.stream AND t.name = n.name AND t.id = n.id AND t.due_at = n.due_at
    ORDER BY 1
  );
  IF cardinality(targets) = 0 THEN
    RETURN;
  END IF;
  PERFORM message_store.lock_categories(targets);
  -- Two timers whose messages have one id are one message. The second is fired by a later call.
  waiting := ARRAY(
    SELECT DISTINCT ON (locked.id) locked::message_store.timers
    FROM (
      SELECT t.* FROM message_store.timers t
      JOIN unnest(streams, names, ids, due_times) AS n (stream, name, id, due_at)
        ON t.stream = n.stream AND t.name = n.name AND t.id = n.id AND t.due_at = n.due_at
      WHERE t.to_stream = ANY (targets)
      FOR UPDATE OF t SKIP LOCKED
    ) AS locked
    ORDER BY locked.id
  );
  waiting := ARRAY(SELECT w::message_store.timers FROM unnest(waiting) AS w ORDER BY w.due_at, w.stream, w.name);
  IF cardinality(waiting) = 0 THEN
    RETURN;
  END IF;
  targets := ARRAY(SELECT DISTINCT w.to_stream FROM unnest(waiting) AS w ORDER BY 1);
  SELECT * INTO answer FROM message_store.append_messages(
    targets,
    array_fill(NULL::bigint, ARRAY[cardinality(targets)]),
    array_fill(1, ARRAY[cardinality(waiting)]),
    ARRAY(SELECT array_position(targets, w.to_stream) FROM unnest(waiting) WITH ORDINALITY AS w ORDER BY w.ordinality),
    array_fill(NULL::bigint, ARRAY[cardinality(waiting)]),
    array_fill(1, ARRAY[cardinality(waiting)]),
    ARRAY(SELECT w.id FROM unnest(waiting) WITH ORDINALITY AS w ORDER BY w.ordinality),
    ARRAY(SELECT w.type FROM unnest(waiting) WITH ORDINALITY AS w ORDER BY w.ordinality),
    ARRAY(SELECT w.data FROM unnest(waiting) WITH ORDINALITY AS w ORDER BY w.ordinality),
    ARRAY(SELECT w.metadata FROM unnest(waiting) WITH ORDINALITY AS w ORDER BY w.ordinality)
  );
  FOR number IN 1 .. cardinality(waiting) LOOP
    removed := waiting[number];
    IF answer.refusals[number] IS NULL THEN
      DELETE FROM message_store.timers t WHERE t.stream = removed.stream AND t.name = removed.name;
      fired := fired + 1;
      IF answer.written_before[number] IS NOT TRUE THEN
        written_to := array_append(written_to, removed.to_stream);
      END IF;
    ELSE
      -- Another message has the id. The timer waits, so its message was not written.
      UPDATE message_store.timers t SET id = gen_random_uuid(), changes = t.changes + 1
      WHERE t.stream = removed.stream AND t.name = removed.name;
    END IF;
  END LOOP;
END $$;
