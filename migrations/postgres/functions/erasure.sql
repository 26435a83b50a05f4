-- Erasure: the functions that replace the content of messages. They are for operators: neither PUBLIC nor the role message_store may
-- call them.

-- The open run of the target: one that was begun before and has not ended, or a new one.
CREATE OR REPLACE FUNCTION message_store.begin_erasure_run(target_kind text, target_name text) RETURNS message_store.erasure_runs
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
DECLARE
  run message_store.erasure_runs;
BEGIN
  LOOP
    SELECT r.* INTO run FROM message_store.erasure_runs r WHERE r.kind = target_kind AND r.name = target_name AND r.ended_at IS NULL;
    IF FOUND THEN
      RETURN run;
    END IF;
    INSERT INTO message_store.erasure_runs (kind, name) VALUES (target_kind, target_name)
    ON CONFLICT (kind, name) WHERE ended_at IS NULL DO NOTHING;
  END LOOP;
END $$;

-- Replaces the content of messages and saves the progress of the run; with is_end, ends the run. Returns the progress.
--
-- The table of messages comes first, and the archive in a statement of its own: a message that moves meanwhile is then found in one of
-- the two. The first statement waits for the move, and no longer finds the message; the second sees it in the archive. (One statement
-- for both would look for it in the archive as it was before the move.)
CREATE OR REPLACE FUNCTION message_store.erase_part(
  run_number bigint,
  ids uuid[],
  new_data jsonb[],
  new_metadata jsonb[],
  through bigint,
  is_end boolean
) RETURNS message_store.erasure_runs
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
-- message-store functions {version}
DECLARE
  run message_store.erasure_runs;
  erased_in_table bigint;
  erased_in_archive bigint;
BEGIN
  SELECT r.* INTO run FROM message_store.erasure_runs r WHERE r.number = run_number FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('there is no run %s of an erasure', run_number);
  ELSIF run.ended_at IS NOT NULL THEN
    RETURN run;
  END IF;
  UPDATE ONLY message_store.messages m SET data = r.data, metadata = r.metadata
  FROM unnest(ids, new_data, new_metadata) AS r (id, data, metadata)
  WHERE m.id = r.id;
  GET DIAGNOSTICS erased_in_table = ROW_COUNT;
  UPDATE message_store.archived_messages m SET data = r.data, metadata = r.metadata
  FROM unnest(ids, new_data, new_metadata) AS r (id, data, metadata)
  WHERE m.id = r.id;
  GET DIAGNOSTICS erased_in_archive = ROW_COUNT;
  -- They were made of what is erased. A run that goes on after a kill no longer knows the streams of the parts before.
  DELETE FROM message_store.snapshots s
  WHERE s.stream_name IN (SELECT m.stream_name FROM message_store.messages m WHERE m.id = ANY (ids));
  UPDATE message_store.erasure_runs r
  SET looked_through = greatest(r.looked_through, through),
    erased = r.erased + erased_in_table + erased_in_archive,
    ended_at = CASE WHEN is_end THEN clock_timestamp() END
  WHERE r.number = run_number
  RETURNING r.* INTO run;
  RETURN run;
END $$;
