DELETE FROM message_store.snapshots WHERE stream_name = $1
