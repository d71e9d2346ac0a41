-- A table of 60 columns: the key, and six times those of the mixed table, the last time without updated_at. What makes
-- the mixed table is there as mixed and make_mixed.

DO $do$
DECLARE
  declared text;
  chosen text;
BEGIN
  SELECT
    string_agg(format('%I %s %s', name, type, CASE WHEN attnotnull THEN 'NOT NULL' END), ', ' ORDER BY part, attnum),
    string_agg(format('part_%s.%I', part, attname), ', ' ORDER BY part, attnum)
  INTO declared, chosen
  FROM (
    SELECT
      part,
      attnum,
      attname,
      attnotnull,
      format_type(atttypid, atttypmod) AS type,
      attname || CASE WHEN part > 1 THEN '_' || part ELSE '' END AS name
    FROM pg_attribute, generate_series(1, 6) AS part
    WHERE attrelid = 'mixed'::regclass AND attnum > 1 AND NOT (part = 6 AND attname = 'updated_at')
  ) AS columns;
  EXECUTE format('CREATE TABLE events (id bigint PRIMARY KEY, %s)', declared);
  -- The parts are rows far from each other, so that no two columns of a row are alike.
  EXECUTE format(
    $sql$
      CREATE FUNCTION make_events(first bigint, last bigint) RETURNS SETOF events LANGUAGE sql STABLE AS $$
        SELECT part_1.id, %s FROM make_mixed(first, last) AS part_1 %s
      $$
    $sql$,
    chosen,
    (
      SELECT string_agg(
        format('CROSS JOIN LATERAL make_mixed(part_1.id + %1$s0000000, part_1.id + %1$s0000000) AS part_%1$s', part), ' '
      )
      FROM generate_series(2, 6) AS part
    )
  );
END
$do$;
