-- During an adoption, the writers are the roles that may INSERT, so this revokes EXECUTE on write_message. EXECUTE on
-- Message DB's function does not make a role a writer, because the function runs with the caller's rights. EXECUTE on
-- this library's function would, because that runs with its owner's rights.
DO $$
DECLARE
  grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    FROM pg_proc p, aclexplode(p.proacl) AS a
    WHERE p.oid = 'message_store.write_message(varchar, varchar, varchar, jsonb, jsonb, bigint)'::regprocedure
      AND a.grantee <> p.proowner
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION message_store.write_message(varchar, varchar, varchar, jsonb, jsonb, bigint) FROM %s CASCADE', grantee);
  END LOOP;
END $$;
