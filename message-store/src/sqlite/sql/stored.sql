-- What stands under the id of a message that is to be appended.
SELECT stream_name, type, data, position, global_position FROM messages WHERE id = ?1
