-- Whether a message passes the filters: $4 correlation category, $5 members or slots of $6, $7 types. A stream without an
-- entity has the number -1.
coalesce(
  ($7::text[] IS NULL OR type = ANY ($7))
  AND ($6::bigint IS NULL
    OR coalesce(mod(abs(message_store.hash_64(message_store.cardinal_id(stream_name))), $6), -1) = ANY ($5::bigint[]))
  AND ($4::text IS NULL OR message_store.category(metadata ->> 'correlationStreamName')::text = $4::text),
  false
)
