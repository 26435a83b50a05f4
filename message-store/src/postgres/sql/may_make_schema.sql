SELECT has_database_privilege(current_database(), 'CREATE') OR to_regnamespace('message_store') IS NOT NULL
