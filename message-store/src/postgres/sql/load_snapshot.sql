SELECT position, content FROM message_store.snapshots WHERE stream_name = $1 AND projection = $2 AND fingerprint = $3
