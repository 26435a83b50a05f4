-- Keeps the fence for commit_with_fence.sql. If this process stops within the transaction, the server soon ends it, so that its
-- rows are free for the slot's next owner.
SELECT set_config('message_store.fence_group', $1, true), set_config('message_store.fence_slot', $2, true),
  set_config('message_store.fence_epoch', $3, true), set_config('message_store.fence_owner', $4, true),
  set_config('idle_in_transaction_session_timeout', '10s', true)
