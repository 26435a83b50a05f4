SELECT max(position) FROM ONLY message_store.messages WHERE stream_name = $1
