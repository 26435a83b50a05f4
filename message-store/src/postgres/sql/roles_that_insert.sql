-- The roles with the right to INSERT into the table, or into columns of it, or to change its sequence. They could write
-- without the lock and the version check, and leave gaps in a stream's positions.
SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
FROM pg_class c
CROSS JOIN LATERAL (
  SELECT grantee, privilege_type FROM aclexplode(c.relacl)
  UNION
  SELECT e.grantee, e.privilege_type FROM pg_attribute t, aclexplode(t.attacl) AS e WHERE t.attrelid = c.oid
  UNION
  SELECT e.grantee, 'INSERT'
  FROM pg_class s, aclexplode(s.relacl) AS e
  WHERE s.oid = to_regclass('message_store.messages_global_position_seq') AND e.privilege_type IN ('USAGE', 'UPDATE')
) AS a
WHERE c.oid = to_regclass('message_store.messages') AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
ORDER BY 1
