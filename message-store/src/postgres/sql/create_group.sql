INSERT INTO message_store.group_slots (group_name, number, progress)
SELECT $1, ordinal - 1, progress::jsonb
FROM unnest($2::text[]) WITH ORDINALITY AS initial (progress, ordinal)
WHERE NOT EXISTS (SELECT FROM message_store.group_slots WHERE group_name = $1)
ON CONFLICT DO NOTHING
