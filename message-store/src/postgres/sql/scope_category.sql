-- A category, in the order of global positions. get_category_messages explains why the condition is a range.
WHERE (message_store.category(stream_name)::text, global_position) >= ($1::text, $2)
  AND message_store.category(stream_name)::text <= $1::text
ORDER BY message_store.category(stream_name)::text, global_position
