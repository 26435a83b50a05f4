-- The number of messages of category $1 after position $2, the time of the first of them, and the last position of the
-- category, which is never archived. get_category_messages explains why the conditions are ranges.
SELECT
  (
    SELECT count(*)
    FROM message_store.messages
    WHERE (message_store.category(stream_name)::text, global_position) > ($1::text, $2)
      AND message_store.category(stream_name)::text <= $1::text
  ),
  (
    SELECT time
    FROM message_store.messages
    WHERE (message_store.category(stream_name)::text, global_position) > ($1::text, $2)
      AND message_store.category(stream_name)::text <= $1::text
    ORDER BY message_store.category(stream_name)::text, global_position
    LIMIT 1
  ),
  (
    SELECT global_position
    FROM ONLY message_store.messages
    WHERE (message_store.category(stream_name)::text, global_position) <= ($1::text, 9223372036854775807)
      AND message_store.category(stream_name)::text >= $1::text
    ORDER BY message_store.category(stream_name)::text DESC, global_position DESC
    LIMIT 1
  )
