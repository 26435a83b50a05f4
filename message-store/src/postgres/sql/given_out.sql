-- The highest global position that was given out. Its message may have been deleted.
SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END
FROM message_store.messages_global_position_seq
