-- Before 1.3.0: without a type.
CREATE OR REPLACE FUNCTION get_last_stream_message(stream_name varchar) RETURNS SETOF message LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position, m.data::varchar,
      m.metadata::varchar, m.time
    FROM messages m
    WHERE m.stream_name = get_last_stream_message.stream_name
    ORDER BY m.position DESC LIMIT 1;
END $$;
