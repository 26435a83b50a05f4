-- Message DB's functions run with the caller's rights, so its clients need the right to INSERT. This library's
-- functions run with their owner's rights, so its clients do not.
REVOKE INSERT ON message_store.messages FROM {role} CASCADE;
REVOKE USAGE, UPDATE ON SEQUENCE message_store.messages_global_position_seq FROM {role} CASCADE;
