-- Nothing is lost with it, so it need not wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, category)
FROM unnest($2::text[]) AS category
