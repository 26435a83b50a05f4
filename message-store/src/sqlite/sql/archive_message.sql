INSERT INTO archived_messages (global_position, position, time, stream_name, category, type, data, metadata, id)
SELECT global_position, position, time, stream_name, category, type, data, metadata, id FROM messages WHERE global_position = ?1
