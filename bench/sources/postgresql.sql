-- The table that is copied: 11 columns of mixed types, about 300 bytes a row. Every value follows from the row's number,
-- so that two machines measure the same bytes.
--
-- How many rows is a setting, for the script to be one that psql runs too:
--   psql -c "SET bench.rows = '1000000'" -f bench/sources/postgresql.sql

DROP TABLE IF EXISTS events;

CREATE TABLE events (
  id bigint PRIMARY KEY,
  quantity integer NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  price numeric(12, 2) NOT NULL,
  active boolean NOT NULL,
  details jsonb NOT NULL,
  reference uuid NOT NULL,
  note text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE OR REPLACE FUNCTION make_events(first bigint, last bigint) RETURNS SETOF events
LANGUAGE sql STABLE AS $$
  SELECT
    id,
    (h & 1048575)::integer - 524288,
    'Event ' || substr(digest, 1, 12) || ' of day ' || id % 366,
    'Moved from ' || substr(digest, 5, 16) || ' to ' || substr(digest, 2, 16),
    ((h % 100000000000) / 100.0)::numeric(12, 2),
    h % 3 <> 0,
    jsonb_build_object(
      'ok', h % 2 = 0, 'kind', substr(digest, 9, 8), 'size', h % 10000,
      'tags', jsonb_build_array('new', substr(digest, 3, 12))
    ),
    digest::uuid,
    CASE WHEN id % 4 <> 0 THEN
      (ARRAY['Grüße aus Köln', '東京で確認済み', 'Livré à Orléans', '🚚 доставлено'])[h % 4 + 1] || ' ' || id % 1000
    END,
    created_at,
    created_at + (h % 2592000000000) * interval '1 microsecond'
  FROM (
    SELECT
      id,
      md5(id::text) AS digest,
      ('x' || substr(md5(id::text), 1, 15))::bit(60)::bigint AS h,
      timestamptz '2020-01-01 00:00:00Z' + id * interval '20.123457 seconds' AS created_at
    FROM generate_series(first, last) AS id
  ) AS seeds
$$;

INSERT INTO events SELECT * FROM make_events(1, current_setting('bench.rows')::bigint);

-- What anyone who reads a large table by `updated_at` has.
CREATE INDEX events_updated_at ON events (updated_at, id);
