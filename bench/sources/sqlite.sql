-- The rows `$first` to `$last` of the table that is copied: 11 columns of mixed types, about 300 bytes a row. Every value
-- follows from the row's number, so that two machines measure the same bytes.
--
-- SQLite has no digest of its own. What stands in for it are 128 bits of multiplied and shifted numbers; products stay below
-- 2^63, where SQLite's integers end. Each step is materialized, because it would be written out in the next one otherwise,
-- several times.

INSERT INTO events
WITH RECURSIVE
  numbers (id) AS (SELECT $first UNION ALL SELECT id + 1 FROM numbers WHERE id < $last),
  one AS MATERIALIZED (SELECT id, (id * 2654435761) & 4294967295 AS a FROM numbers),
  two AS MATERIALIZED (SELECT *, ((a + (a >> 15)) * 1597334677 + id) & 4294967295 AS b FROM one),
  three AS MATERIALIZED (SELECT *, ((b + (b >> 13)) * 1103515245 + 12345) & 4294967295 AS c FROM two),
  four AS MATERIALIZED (SELECT *, ((c + (c >> 16)) * 1812433253 + a) & 4294967295 AS d FROM three),
  seeds AS MATERIALIZED (
    SELECT
      id,
      (d << 28) | (c >> 4) AS h,
      printf('%08x%08x%08x%08x', d, c, b, a) AS digest,
      1577836800 + id * 20.123457 AS created
    FROM four
  )
SELECT
  id,
  (h & 1048575) - 524288,
  'Event ' || substr(digest, 1, 12) || ' of day ' || (id % 366),
  'Moved from ' || substr(digest, 5, 16) || ' to ' || substr(digest, 2, 16),
  (h % 100000000000) / 100.0,
  h % 3 <> 0,
  '{"ok": ' || CASE WHEN h % 2 = 0 THEN 'true' ELSE 'false' END || ', "kind": "' || substr(digest, 9, 8) || '", "size": '
    || (h % 10000) || ', "tags": ["new", "' || substr(digest, 3, 12) || '"]}',
  substr(digest, 1, 8) || '-' || substr(digest, 9, 4) || '-' || substr(digest, 13, 4) || '-' || substr(digest, 17, 4)
    || '-' || substr(digest, 21, 12),
  CASE WHEN id % 4 <> 0 THEN
    CASE h % 4 WHEN 0 THEN 'Grüße aus Köln' WHEN 1 THEN '東京で確認済み' WHEN 2 THEN 'Livré à Orléans' ELSE '🚚 доставлено' END
      || ' ' || (id % 1000)
  END,
  strftime('%Y-%m-%dT%H:%M:%fZ', created, 'unixepoch'),
  strftime('%Y-%m-%dT%H:%M:%fZ', created + (h % 2592000000) / 1000.0, 'unixepoch')
FROM seeds
