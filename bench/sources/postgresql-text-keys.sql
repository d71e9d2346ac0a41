-- The mixed table with a text of 36 characters for a key, in no order. What makes the mixed table is there as mixed and
-- make_mixed.

CREATE TABLE events (LIKE mixed);
ALTER TABLE events ALTER COLUMN id TYPE text, ADD PRIMARY KEY (id);

CREATE FUNCTION make_events(first bigint, last bigint) RETURNS SETOF events LANGUAGE sql STABLE AS $$
  SELECT
    md5('key ' || id)::uuid::text, quantity, title, body, price, active, details, reference, note, created_at, updated_at
  FROM make_mixed(first, last)
$$;
