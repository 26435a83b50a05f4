-- Message DB lets its role INSERT, by which a client can pass by the lock, the version check and the gapless position.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON message_store.messages FROM message_store;
REVOKE USAGE, UPDATE ON SEQUENCE message_store.messages_global_position_seq FROM message_store;
