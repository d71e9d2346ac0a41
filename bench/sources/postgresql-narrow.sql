-- A table of two columns, neither of which tells newer rows.

CREATE TABLE events (id bigint PRIMARY KEY, value integer NOT NULL);

CREATE FUNCTION make_events(first bigint, last bigint) RETURNS SETOF events LANGUAGE sql STABLE AS $$
  SELECT id, hashint8(id) FROM generate_series(first, last) AS id
$$;
