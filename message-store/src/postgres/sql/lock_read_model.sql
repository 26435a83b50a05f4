-- The statements of the author's transaction are planned as in other sessions. If this process is lost within the
-- transaction, the server ends it, and its lock is free.
SELECT global_position, set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
  set_config('enable_sort', 'on', true), set_config('idle_in_transaction_session_timeout', '5min', true),
  pg_backend_pid()
FROM message_store.read_models
WHERE name = $1
FOR UPDATE
