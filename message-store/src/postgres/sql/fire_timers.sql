SELECT fired, written_to FROM message_store.fire_timers($1, $2, $3, $4)
