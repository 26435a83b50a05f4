-- If the server has a synchronous standby: writes a record that says nothing, so that the commit waits until the standby has it
-- and everything before it. A transaction without a record would not wait.
SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'message_store', '') END
