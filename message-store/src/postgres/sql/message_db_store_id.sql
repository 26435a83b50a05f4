-- The identity of a store with Message DB's own schema, which stores none. It is derived from the server and the
-- database, and the store keeps it when it is upgraded.
SELECT md5('message-db:' || system_identifier || ':' || (SELECT oid FROM pg_database WHERE datname = current_database()))::uuid
FROM pg_control_system()
