-- Who owns what, and who may do what.
--
-- Everything belongs to the table's owner, with whose rights the functions write. The role message_store is what Message DB's clients
-- log in as. The roles that write are those to which EXECUTE on write_message is granted, message_store among them; each of them is
-- then given what else a writer needs (`grant_writing.sql`).

DO $$
DECLARE
  owner oid := (SELECT relowner FROM pg_class WHERE oid = 'message_store.messages'::regclass);
  statement text;
BEGIN
  FOR statement IN
    SELECT format('ALTER FUNCTION %s OWNER TO %I', p.oid::regprocedure, pg_get_userbyid(owner))
    FROM pg_proc p
    WHERE p.pronamespace = 'message_store'::regnamespace AND p.proowner <> owner AND p.prosrc LIKE '%-- message-store functions %'
    UNION ALL
    -- What this user has just made.
    SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(owner))
    FROM pg_class c
    WHERE c.relnamespace = 'message_store'::regnamespace AND c.relkind IN ('r', 'v')
      AND c.relowner = current_user::regrole AND c.relowner <> owner
  LOOP
    EXECUTE statement;
  END LOOP;
END $$;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    CREATE ROLE message_store LOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;
  WHEN insufficient_privilege THEN
    -- `migrate` warns, and `check` finds it.
    NULL;
END $$;

-- The store's version, its identity, the last position and a switch are no secrets from those who may use the schema.
GRANT SELECT ON message_store.schema_history, message_store.store_identity, message_store.sql_condition TO PUBLIC;
GRANT SELECT ON SEQUENCE message_store.messages_global_position_seq TO PUBLIC;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    GRANT USAGE ON SCHEMA message_store TO message_store;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO message_store;
    GRANT SELECT ON message_store.messages, message_store.stream_summary, message_store.type_summary,
      message_store.stream_type_summary, message_store.type_stream_summary, message_store.category_type_summary,
      message_store.type_category_summary TO message_store;
  END IF;
END $$;

-- (The functions that read run with the caller's rights, and need none taken away.)
REVOKE EXECUTE ON FUNCTION message_store.write_message, message_store.append_message, message_store.append_messages,
  message_store.append_messages_unless,
  message_store.place_messages, message_store.decide_appends,
  message_store.publish_first_bound, message_store.publish_later_bound, message_store.lock_categories,
  message_store.lock_free_categories, message_store.find_key,
  message_store.take_key, message_store.lease_key, message_store.release_key, message_store.sweep,
  message_store.assert_slot, message_store.change_timers, message_store.fire_timers
FROM PUBLIC;

-- The functions of operators. A role of its own may be granted them; a service's role needs none. The journals name categories,
-- streams and positions, which those who may read messages know.
REVOKE EXECUTE ON FUNCTION message_store.begin_archive_run, message_store.archive_part,
  message_store.begin_erasure_run, message_store.erase_part
FROM PUBLIC;

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
    REVOKE EXECUTE ON FUNCTION message_store.begin_archive_run, message_store.archive_part,
      message_store.begin_erasure_run, message_store.erase_part
    FROM message_store;
    GRANT SELECT ON message_store.archive_runs, message_store.erasure_runs TO message_store;
  END IF;
END $$;
