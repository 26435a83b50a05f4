SELECT name, id, extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_left, wants_slots
FROM message_store.group_members
WHERE group_name = $1 AND lease_until > clock_timestamp()
ORDER BY name
