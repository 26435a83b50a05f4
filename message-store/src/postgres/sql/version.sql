SELECT max(position) FROM message_store.messages WHERE stream_name = $1
