-- The transaction writes nothing, so its commit need not wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, category)
FROM unnest($2::text[]) AS category
