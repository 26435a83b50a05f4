-- Whether a message passes the filters: $4 correlation category, $5 group member of $6, $7 types.
coalesce(
  ($7::text[] IS NULL OR type = ANY ($7))
  AND ($6::bigint IS NULL
    OR mod(abs(message_store.hash_64(message_store.cardinal_id(stream_name))), $6) = $5::bigint)
  AND ($4::text IS NULL OR message_store.category(metadata ->> 'correlationStreamName')::text = $4::text),
  false
)
