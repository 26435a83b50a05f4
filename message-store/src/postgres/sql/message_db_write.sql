SELECT message_store.write_message($1::text::varchar, $2, $3, $4::text::jsonb, $5::text::jsonb)
