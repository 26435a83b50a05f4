-- If this process is lost within the transaction, the server ends it, and its locks are free.
SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', '10s', true)
