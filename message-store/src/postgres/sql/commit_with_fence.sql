-- Sent as one message, so that nothing of the client happens between the check and the commit.
SELECT message_store.assert_slot(
  current_setting('message_store.fence_group'), current_setting('message_store.fence_slot')::int,
  current_setting('message_store.fence_epoch')::bigint, current_setting('message_store.fence_owner')::uuid
);
COMMIT
