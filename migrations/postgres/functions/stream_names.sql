-- What stream names mean. An index uses `category`: so these come before the tables.
--
-- Every function of these scripts begins with a mark that says which version of ours it is (see `state.sql`). The mark stands in
-- the function's text, which a replacement by another script takes away. Each body is a string, whose text the server keeps.
-- Each name is qualified, so that functions resolve with any search_path.
--
-- These are one expression each: the planner puts it in the place of the call.

-- The separator of category and id is the first hyphen.
CREATE OR REPLACE FUNCTION message_store.category(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- message-store functions {version}
SELECT pg_catalog.split_part(stream_name, '-', 1);
$$;

CREATE OR REPLACE FUNCTION message_store.id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- message-store functions {version}
SELECT CASE WHEN pg_catalog.strpos(stream_name, '-') > 0
  THEN pg_catalog.substr(stream_name, pg_catalog.strpos(stream_name, '-') + 1) END;
$$;

-- The id up to the first plus sign: the entity's own.
CREATE OR REPLACE FUNCTION message_store.cardinal_id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- message-store functions {version}
SELECT pg_catalog.split_part(message_store.id(stream_name), '+', 1);
$$;

CREATE OR REPLACE FUNCTION message_store.is_category(stream_name varchar) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- message-store functions {version}
SELECT coalesce(pg_catalog.strpos(stream_name, '-'), 0) = 0;
$$;

-- The first eight bytes of the MD5, as a signed number.
CREATE OR REPLACE FUNCTION message_store.hash_64(value varchar) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- message-store functions {version}
SELECT ('x' OPERATOR(pg_catalog.||) pg_catalog."left"(pg_catalog.md5(value), 16))::bit(64)::bigint;
$$;
