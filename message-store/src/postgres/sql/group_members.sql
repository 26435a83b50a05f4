SELECT name, id, extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_left
FROM message_store.group_members
WHERE group_name = $1 AND lease_until > clock_timestamp()
ORDER BY name
