-- The identity of a store in which Message DB keeps none: it follows from the server and the database, and stays when the
-- store is upgraded.
SELECT md5('message-db:' || system_identifier || ':' || (SELECT oid FROM pg_database WHERE datname = current_database()))::uuid
FROM pg_control_system()
