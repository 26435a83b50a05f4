-- The messages whose correlation is the stream in $1, below the horizon in $1, in the order of global positions. The condition is a range of the
-- index, as for a category.
WHERE (left(metadata ->> 'correlationStreamName', 255), global_position) >= (left(($1::text[])[1], 255), $2)
  AND left(metadata ->> 'correlationStreamName', 255) <= left(($1::text[])[1], 255)
  AND metadata ->> 'correlationStreamName' IS NOT NULL AND metadata ->> 'correlationStreamName' = ($1::text[])[1]
  AND global_position < (($1::text[])[2])::bigint
ORDER BY left(metadata ->> 'correlationStreamName', 255), global_position
