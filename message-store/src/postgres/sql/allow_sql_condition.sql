UPDATE message_store.sql_condition SET allowed = true
