-- The sessions of a pooler do not have these limits. If this process is lost, its locks are free after ten seconds. The server ends
-- a statement before the caller takes its connection for silent. 0: a lock is waited for without a limit of its own.
SET LOCAL idle_in_transaction_session_timeout = '10s';
SET LOCAL statement_timeout = {statement};
SET LOCAL lock_timeout = {lock};
