-- The horizon, and the last position that was given out.
SELECT message_store.horizon(), message_store.next_global_position()
