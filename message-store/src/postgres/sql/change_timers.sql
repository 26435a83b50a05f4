SELECT message_store.change_timers($1)
