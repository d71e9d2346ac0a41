-- The table that is copied: 11 columns of mixed types, about 300 bytes a row. Every value follows from the row's number,
-- so that two machines measure the same bytes.
--
-- Which rows are made is a setting, for the script to be one that the client runs too:
--   mariadb -e "SET @first = 1, @last = 1000000; SOURCE bench/sources/mariadb.sql" DATABASE

SET NAMES utf8mb4;
SET time_zone = '+00:00';

CREATE TABLE IF NOT EXISTS events (
  id bigint NOT NULL PRIMARY KEY,
  quantity int NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  price decimal(12, 2) NOT NULL,
  active boolean NOT NULL,
  details json NOT NULL,
  reference char(36) CHARACTER SET ascii NOT NULL,
  note text,
  created_at timestamp(6) NOT NULL DEFAULT '2020-01-01',
  updated_at timestamp(6) NOT NULL DEFAULT '2020-01-01'
) DEFAULT CHARSET utf8mb4;

-- The table may be there already: then rows are added.
INSERT INTO events
SELECT
  id,
  h % 1048576 - 524288,
  concat('Event ', substr(digest, 1, 12), ' of day ', id % 366),
  concat('Moved from ', substr(digest, 5, 16), ' to ', substr(digest, 2, 16)),
  (h % 100000000000) / 100,
  h % 3 <> 0,
  concat(
    '{"ok": ', CASE WHEN h % 2 = 0 THEN 'true' ELSE 'false' END, ', "kind": "', substr(digest, 9, 8), '", "size": ',
    h % 10000, ', "tags": ["new", "', substr(digest, 3, 12), '"]}'
  ),
  concat_ws(
    '-', substr(digest, 1, 8), substr(digest, 9, 4), substr(digest, 13, 4), substr(digest, 17, 4), substr(digest, 21, 12)
  ),
  CASE WHEN id % 4 <> 0 THEN
    concat(elt(h % 4 + 1, 'Grüße aus Köln', '東京で確認済み', 'Livré à Orléans', '🚚 доставлено'), ' ', id % 1000)
  END,
  created_at,
  date_add(created_at, INTERVAL h % 2592000000000 MICROSECOND)
FROM (
  SELECT
    id,
    md5(id) AS digest,
    cast(conv(substr(md5(id), 1, 15), 16, 10) AS signed) AS h,
    date_add(timestamp '2020-01-01 00:00:00.000000', INTERVAL id * 20123457 MICROSECOND) AS created_at
  FROM (SELECT @first + seq AS id FROM seq_0_to_99999999 WHERE seq <= @last - @first) AS numbers
) AS seeds;
