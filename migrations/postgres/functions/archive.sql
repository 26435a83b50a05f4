-- The archive: the functions that move messages. They are for operators: neither PUBLIC nor the role message_store may call them.
--
-- Problem: readers and writers work while messages move, and the process that moves them may be killed at any time.
-- Fix: one transaction takes a part of the messages from their table, writes it to the archive, and saves the progress of the run. A
-- statement of a reader sees the database before this transaction or after it, so it sees each message once. What was not committed did
-- not happen, and the next call goes on from the saved progress. A second caller waits for the row of the run, and goes on after the first.
-- A writer waits for nothing: it appends after the last message of a stream, which stays in the table.

-- The open run of the category: one that was begun before and has not ended, or a new one.
CREATE OR REPLACE FUNCTION message_store.begin_archive_run(archived_category text, archived_through bigint)
RETURNS message_store.archive_runs
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
DECLARE
  run message_store.archive_runs;
BEGIN
  LOOP
    SELECT r.* INTO run FROM message_store.archive_runs r WHERE r.category = archived_category AND r.ended_at IS NULL;
    IF FOUND THEN
      RETURN run;
    END IF;
    INSERT INTO message_store.archive_runs (category, through) VALUES (archived_category, archived_through)
    ON CONFLICT (category) WHERE ended_at IS NULL DO NOTHING;
  END LOOP;
END $$;

-- Looks at the next messages of a run, so many at most, and moves those after which their stream has others. Returns the progress.
CREATE OR REPLACE FUNCTION message_store.archive_part(run_number bigint, batch_size int) RETURNS message_store.archive_runs
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
-- message-store functions {version}
DECLARE
  run message_store.archive_runs;
  to_move bigint[];
  looked_at bigint;
  last_looked_at bigint;
  moved_now bigint;
BEGIN
  SELECT r.* INTO run FROM message_store.archive_runs r WHERE r.number = run_number FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('there is no run %s of the archive', run_number);
  ELSIF run.ended_at IS NOT NULL THEN
    RETURN run;
  END IF;

  SELECT array_agg(m.global_position) FILTER (WHERE m.is_to_move), count(*), max(m.global_position)
  INTO to_move, looked_at, last_looked_at
  FROM (
    SELECT m.global_position, EXISTS (
      SELECT FROM ONLY message_store.messages l WHERE l.stream_name = m.stream_name AND l.position > m.position
    ) AS is_to_move
    FROM ONLY message_store.messages m
    WHERE (message_store.category(m.stream_name)::text, m.global_position) > (run.category, run.looked_through)
      AND message_store.category(m.stream_name)::text <= run.category AND m.global_position <= run.through
    ORDER BY message_store.category(m.stream_name)::text, m.global_position
    LIMIT batch_size
  ) AS m;

  WITH taken AS (
    DELETE FROM ONLY message_store.messages m WHERE m.global_position = ANY (to_move)
    RETURNING m.id, m.stream_name, m.type, m.position, m.global_position, m.data, m.metadata, m.time
  )
  INSERT INTO message_store.archived_messages (id, stream_name, type, position, global_position, data, metadata, time)
  SELECT t.id, t.stream_name, t.type, t.position, t.global_position, t.data, t.metadata, t.time FROM taken t;
  GET DIAGNOSTICS moved_now = ROW_COUNT;

  UPDATE message_store.archive_runs r
  SET looked_through = CASE WHEN looked_at < batch_size THEN r.through ELSE last_looked_at END,
    moved = r.moved + moved_now,
    ended_at = CASE WHEN looked_at < batch_size THEN clock_timestamp() END
  WHERE r.number = run_number
  RETURNING r.* INTO run;
  RETURN run;
END $$;
