-- The roles to which INSERT into the table, or into columns of it, is granted: they may write past the lock, the version check and
-- the gapless position.
SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
FROM pg_class c
CROSS JOIN LATERAL (
  SELECT grantee, privilege_type FROM aclexplode(c.relacl)
  UNION
  SELECT e.grantee, e.privilege_type FROM pg_attribute t, aclexplode(t.attacl) AS e WHERE t.attrelid = c.oid
) AS a
WHERE c.oid = to_regclass('message_store.messages') AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
ORDER BY 1
