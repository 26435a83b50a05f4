-- The statements of the author's transaction are planned as in other sessions. If this process stops within the transaction, the
-- server soon ends it, so that another process can go on.
SELECT set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true), set_config('enable_sort', 'on', true),
  set_config('idle_in_transaction_session_timeout', '10s', true), pg_backend_pid()
