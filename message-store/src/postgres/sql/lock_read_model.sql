-- The statements of the author's transaction are planned as in other sessions.
SELECT global_position, set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
  set_config('enable_sort', 'on', true)
FROM message_store.read_models
WHERE name = $1
FOR UPDATE
