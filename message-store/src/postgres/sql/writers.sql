-- The roles that write: those with the right to EXECUTE write_message, and those with the right to INSERT into the
-- table, or into columns of it. If PUBLIC has the right, these are the roles that may log in. The role
-- pg_write_all_data counts if it has members.
WITH granted AS (
  SELECT a.grantee
  FROM pg_proc p, aclexplode(p.proacl) AS a
  WHERE p.pronamespace = 'message_store'::regnamespace AND p.proname = 'write_message'
    AND a.privilege_type = 'EXECUTE' AND a.grantee <> 0
  UNION
  SELECT a.grantee
  FROM pg_class c, aclexplode(c.relacl) AS a
  WHERE c.oid = 'message_store.messages'::regclass AND a.privilege_type = 'INSERT'
  UNION
  SELECT a.grantee
  FROM pg_attribute c, aclexplode(c.attacl) AS a
  WHERE c.attrelid = 'message_store.messages'::regclass AND a.privilege_type = 'INSERT'
)
SELECT quote_ident(r.rolname)
FROM pg_roles r
WHERE r.oid <> (SELECT relowner FROM pg_class WHERE oid = 'message_store.messages'::regclass)
  AND (
    r.oid IN (SELECT grantee FROM granted)
    OR (r.rolcanlogin AND NOT r.rolsuper AND EXISTS (SELECT FROM granted WHERE grantee = 0))
    OR (r.rolname = 'pg_write_all_data' AND EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid))
  )
ORDER BY 1
