-- The stored message with the id of a message that is to be appended, if there is one.
SELECT stream_name, type, data, position, global_position, metadata FROM all_messages WHERE id = ?1
