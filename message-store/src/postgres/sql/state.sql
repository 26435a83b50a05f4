-- The functions, the roles and their rights, one row each: the object, its problem or NULL, whether the store breaks a
-- promise because of it, whether this user may repair it, and whether it is a missing function. $1 is the version of
-- this library's functions.
WITH expected (signature, is_definer, is_for_writers) AS (
  VALUES
    ('acquire_lock(varchar)', false, false),
    ('append_message(text, bigint, bigint, uuid, text, jsonb, jsonb)', true, true),
    ('append_messages(text[], bigint[], integer[], integer[], bigint[], integer[], uuid[], text[], jsonb[], jsonb[], text)', true, true),
    ('append_messages_unless(text[], bigint[], integer[], integer[], bigint[], integer[], uuid[], text[], jsonb[], jsonb[], text, jsonb[])', true, true),
    ('assert_slot(text, integer, bigint, uuid)', true, true),
    ('assert_sql_condition()', false, false),
    ('cardinal_id(varchar)', false, false),
    ('category(varchar)', false, false),
    ('change_timers(jsonb)', true, true),
    ('matches(jsonb[], bigint)', false, false),
    ('categories_to_lock(text[], jsonb[])', false, false),
    ('appends_in_sight(text[], integer[], integer[], integer[], jsonb[], jsonb[])', false, false),
    ('decide_appends(text[], bigint[], integer[], integer[], bigint[], integer[], uuid[], text[], jsonb[], boolean[])', false, true),
    ('find_key(text, text, interval, boolean)', true, true),
    ('fire_timers(text[], text[], uuid[], timestamp with time zone[])', true, true),
    ('get_category_messages(varchar, bigint, bigint, varchar, bigint, bigint, varchar)', false, false),
    ('get_last_stream_message(varchar, varchar)', false, false),
    ('get_stream_messages(varchar, bigint, bigint, varchar)', false, false),
    ('hash_64(varchar)', false, false),
    ('horizon()', false, false),
    ('id(varchar)', false, false),
    ('is_category(varchar)', false, false),
    ('is_on(text)', false, false),
    ('lease_key(text, text, uuid, interval)', true, true),
    ('lock_categories(text[])', false, true),
    ('lock_free_categories(text[], text)', false, true),
    ('lock_category(varchar)', false, false),
    ('matching(jsonb, bigint)', false, false),
    ('message_store_version()', false, false),
    ('next_global_position()', false, false),
    ('place_messages(text[], bigint[], integer[], bigint[], integer[], uuid[])', false, true),
    ('publish_first_bound()', false, true),
    ('publish_later_bound()', false, true),
    ('release_key(text, text, uuid)', true, true),
    ('stream_version(varchar)', false, false),
    ('sweep(integer)', true, true),
    ('take_key(text, text, interval, text, text)', true, true),
    ('write_message(varchar, varchar, varchar, jsonb, jsonb, bigint)', true, true)
),
-- Those that neither PUBLIC nor the role message_store may call.
expected_for_operators (signature) AS (
  VALUES
    ('archive_part(bigint, integer)'),
    ('begin_archive_run(text, bigint)'),
    ('begin_erasure_run(text, text)'),
    ('erase_part(bigint, uuid[], jsonb[], jsonb[], bigint, boolean)')
),
own AS (
  SELECT c.relowner AS owner, (r.rolsuper OR r.rolcreaterole) AS makes_roles,
    pg_has_role(c.relowner, 'USAGE') AND NOT pg_is_in_recovery() AS may_repair
  FROM pg_class c, pg_roles r
  WHERE c.oid = to_regclass('message_store.messages') AND r.rolname = current_user
),
functions AS (
  SELECT e.signature, split_part(e.signature, '(', 1) AS name, e.is_definer, e.is_for_writers, e.is_for_operators, p.*,
    substring(p.prosrc FROM '-- message-store functions ([0-9]+)')::int AS version
  FROM (
    SELECT signature, is_definer, is_for_writers, false FROM expected
    UNION ALL
    SELECT signature, true, false, true FROM expected_for_operators
  ) AS e (signature, is_definer, is_for_writers, is_for_operators)
  LEFT JOIN pg_proc p ON p.oid = to_regprocedure('message_store.' || e.signature)
),
writers AS (
  SELECT a.grantee AS oid
  FROM functions f, aclexplode(f.proacl) AS a
  WHERE f.name = 'write_message' AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, f.proowner)
),
findings (what, problem, is_serious, is_repairable, is_missing) AS (
  SELECT 'function ' || f.signature,
    CASE
      WHEN f.oid IS NULL THEN 'it is missing'
      WHEN f.version IS NULL THEN 'it is not this library''s: another script has replaced it'
      WHEN f.version < $1::int THEN format('it is version %s, and the newest is %s', f.version, $1::int)
      WHEN f.proowner <> o.owner THEN format('it belongs to %s, and the table to %s', pg_get_userbyid(f.proowner), pg_get_userbyid(o.owner))
      WHEN f.prosecdef <> f.is_definer
        THEN format('it runs with the rights of its %s, not of its %s', CASE WHEN f.prosecdef THEN 'owner' ELSE 'caller' END, CASE WHEN f.prosecdef THEN 'caller' ELSE 'owner' END)
      WHEN f.is_definer AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (f.proconfig), false) THEN 'it resolves names by its caller''s search_path'
      WHEN (f.is_for_writers OR f.is_for_operators) AND (f.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) AS a WHERE a.grantee = 0))
        THEN 'every role may call it'
      WHEN f.is_for_operators AND EXISTS (SELECT FROM aclexplode(f.proacl) AS a WHERE a.grantee = to_regrole('message_store')::oid)
        THEN 'the role message_store may call it, and it is for operators'
    END,
    true,
    o.may_repair AND (f.oid IS NULL OR pg_has_role(f.proowner, 'USAGE')),
    f.oid IS NULL
  FROM functions f, own o
  UNION ALL
  SELECT 'function ' || f.name, format('%s exists too, and a call may choose either', p.oid::regprocedure), true,
    o.may_repair AND p.oid IS NOT DISTINCT FROM to_regprocedure('message_store.get_last_stream_message(varchar)'),
    false
  FROM functions f
  JOIN pg_proc p ON p.proname = f.name AND p.pronamespace = to_regnamespace('message_store') AND p.oid IS DISTINCT FROM f.oid
  CROSS JOIN own o
  WHERE f.oid IS NOT NULL
  UNION ALL
  SELECT 'role message_store',
    CASE WHEN m.oid IS NULL THEN 'it is missing, and Message DB''s clients log in as it: a user that may create roles can create it with `migrate`'
      ELSE 'it lacks ' || (
        SELECT string_agg(l.name, ', ')
        FROM (
          SELECT 'USAGE of the schema' WHERE NOT has_schema_privilege(m.oid, to_regnamespace('message_store')::oid, 'USAGE')
          UNION ALL
          SELECT 'SELECT on the sequence' WHERE NOT has_sequence_privilege(m.oid, to_regclass('message_store.messages_global_position_seq')::oid, 'SELECT')
          UNION ALL
          SELECT 'EXECUTE of ' || f.name FROM functions f WHERE NOT f.is_for_operators AND NOT has_function_privilege(m.oid, f.oid, 'EXECUTE')
          UNION ALL
          SELECT t.privilege || ' on ' || t.name
          FROM (
            SELECT 'SELECT', unnest('{messages,stream_summary,type_summary,stream_type_summary,type_stream_summary,category_type_summary,type_category_summary,store_identity,sql_condition,schema_history,read_models,read_model_versions,read_model_skipped,group_members,group_slots,timers,snapshots,service_reports,archive_runs,erasure_runs}'::text[])
            UNION ALL
            SELECT privilege, name
            FROM unnest('{INSERT,UPDATE}'::text[]) AS privilege, unnest('{read_models,read_model_versions,group_members,group_slots,snapshots,service_reports}'::text[]) AS name
            UNION ALL
            SELECT 'DELETE', unnest('{group_members,snapshots,service_reports,read_model_skipped}'::text[])
            UNION ALL
            SELECT 'INSERT', 'read_model_skipped'
          ) AS t (privilege, name)
          WHERE NOT has_table_privilege(m.oid, to_regclass('message_store.' || t.name)::oid, t.privilege)
        ) AS l (name)
      )
    END,
    false,
    o.may_repair AND (m.oid IS NOT NULL OR o.makes_roles),
    false
  FROM own o
  LEFT JOIN pg_roles m ON m.rolname = 'message_store'
  UNION ALL
  SELECT 'role ' || pg_get_userbyid(w.oid), 'it may write by write_message, and not by ' || string_agg(f.name, ', ' ORDER BY f.name), false,
    o.may_repair, false
  FROM writers w, functions f, own o
  WHERE f.is_for_writers AND NOT has_function_privilege(w.oid, f.oid, 'EXECUTE') AND pg_get_userbyid(w.oid) <> 'message_store'
  GROUP BY w.oid, o.may_repair
  UNION ALL
  SELECT 'view ' || v.name, 'it is missing', false, o.may_repair, false
  FROM unnest('{stream_summary,type_summary,stream_type_summary,type_stream_summary,category_type_summary,type_category_summary}'::text[]) AS v (name), own o
  WHERE to_regclass('message_store.' || v.name) IS NULL
)
SELECT what, problem, is_serious, is_repairable, is_missing FROM findings
