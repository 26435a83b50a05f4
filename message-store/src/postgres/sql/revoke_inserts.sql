-- Message DB's functions run with the caller's rights, so that its clients need to INSERT. Ours do not.
REVOKE INSERT ON message_store.messages FROM {role} CASCADE;
REVOKE USAGE, UPDATE ON SEQUENCE message_store.messages_global_position_seq FROM {role} CASCADE;
