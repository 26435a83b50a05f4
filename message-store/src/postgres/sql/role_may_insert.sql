-- Whether Message DB's role may write past its functions.
SELECT coalesce(bool_or(has_table_privilege(rolname, 'message_store.messages', 'INSERT')), false)
FROM pg_roles
WHERE rolname = 'message_store'
