-- The demo's tables: `mysql DATABASE < demo/setup-mysql.sql` creates them, again and again, on MySQL 8 and on MariaDB.
-- It drops nothing but what it made itself, which it knows by the comment on the table; another table with one of their
-- names makes it fail.

SET NAMES utf8mb4;
SET time_zone = '+00:00';

SELECT group_concat(concat('`', table_name, '`') ORDER BY table_name) INTO @ours
FROM information_schema.tables
WHERE table_schema = database() AND table_name IN ('orders', 'products', 'users') AND table_comment = 'data sync demo';
SET @statement = coalesce(concat('DROP TABLE ', @ours), 'DO 0');
PREPARE drop_ours FROM @statement;
EXECUTE drop_ours;
DEALLOCATE PREPARE drop_ours;

CREATE TABLE users (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  uid char(36) CHARACTER SET ascii NOT NULL UNIQUE,
  name varchar(100) NOT NULL,
  email varchar(200),
  is_active boolean NOT NULL DEFAULT true,
  balance decimal(12, 2) NOT NULL DEFAULT 0,
  tags json NOT NULL,
  settings json,
  birthday date,
  created_at timestamp(6) NOT NULL DEFAULT current_timestamp(6),
  updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  KEY (updated_at, id)
) DEFAULT CHARSET utf8mb4 COMMENT 'data sync demo';

CREATE TABLE products (
  sku varchar(20) NOT NULL PRIMARY KEY,
  name varchar(100) NOT NULL,
  price decimal(10, 2) NOT NULL,
  -- More digits than a floating-point number holds: the replica keeps every one, as text.
  exact_weight decimal(32, 30),
  rating float,
  attributes json NOT NULL,
  sizes json,
  flags set('new', 'sale', 'fragile') NOT NULL DEFAULT '',
  photo varbinary(16),
  available_from time,
  created_at datetime(6) NOT NULL DEFAULT current_timestamp(6),
  updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  KEY (updated_at, sku)
) DEFAULT CHARSET utf8mb4 COMMENT 'data sync demo';

CREATE TABLE orders (
  id char(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
  user_id bigint unsigned NOT NULL,
  sku varchar(20) NOT NULL,
  quantity int NOT NULL,
  total decimal(14, 2) NOT NULL,
  status enum('new', 'paid', 'shipped', 'returned') NOT NULL DEFAULT 'new',
  note text,
  delivery_days smallint unsigned,
  created_at timestamp(6) NOT NULL DEFAULT current_timestamp(6),
  -- NULL until the first update.
  updated_at timestamp(6) NULL ON UPDATE current_timestamp(6),
  FOREIGN KEY (user_id) REFERENCES users (id),
  FOREIGN KEY (sku) REFERENCES products (sku),
  KEY (updated_at, id)
) DEFAULT CHARSET utf8mb4 COMMENT 'data sync demo';

-- Both servers have a way to count of their own; this one is everybody's.
CREATE TEMPORARY TABLE demo_numbers (n int NOT NULL PRIMARY KEY);
INSERT INTO demo_numbers
WITH RECURSIVE digits AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM digits WHERE d < 9)
SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d
FROM digits AS a, digits AS b, digits AS c, digits AS e, digits AS f WHERE f.d < 2;

INSERT INTO users (uid, name, email, is_active, balance, tags, settings, birthday, created_at, updated_at) VALUES
  ('0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0001', 'Ada Lovelace', 'ada@example.com', true, 1815.12, '["math", "engines"]',
   '{"theme": "dark", "limits": {"daily": 12345678901234567890}}', '1815-12-10', '2024-01-01 09:00:00.000001', '2024-03-01 10:00:00.123456'),
  ('0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0002', 'Þórbergur Þórðarson', 'thor@example.is', true, 0.10, '["with, comma", null, ""]',
   '{"emoji": "🦊"}', '1888-03-12', '2024-01-01 09:00:00.000002', '2024-03-01 10:00:00.123457'),
  ('0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0003', '宮本 武蔵', NULL, false, -42.00, '[]',
   NULL, NULL, '2024-01-01 09:00:00.000003', '2024-03-01 10:00:00.123458'),
  ('0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0004', 'Zoë ''Quote'' Müller', 'zoe@example.de', true, 9999999999.99, '["\\"quoted\\""]',
   '[]', '2000-02-29', '2024-01-01 09:00:00.000004', '2024-03-01 10:00:00.123459');

INSERT INTO users (id, uid, name, email, is_active, balance, tags, settings, birthday, created_at, updated_at)
SELECT
  n,
  lower(insert(insert(insert(insert(md5(concat('user ', n)), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')),
  concat('User ', n),
  CASE WHEN n % 10 > 0 THEN concat('user', n, '@example.com') END,
  n % 7 > 0,
  n * 1.37,
  json_array(concat('group ', n % 5)),
  json_object('n', n, 'parity', CASE n % 2 WHEN 1 THEN 'odd' ELSE 'even' END),
  date_add('1960-01-01', INTERVAL n DAY),
  date_add('2024-01-02', INTERVAL n MINUTE),
  date_add('2024-02-01', INTERVAL n DIV 100 HOUR)
FROM demo_numbers WHERE n BETWEEN 5 AND 1000;

INSERT INTO products (sku, name, price, exact_weight, rating, attributes, sizes, flags, photo, available_from, created_at, updated_at)
SELECT
  concat('P-', lpad(n, 4, '0')),
  concat('Product № ', n),
  n * 0.99,
  CASE WHEN n % 3 > 0 THEN cast(concat('0.', repeat(n, 10)) AS decimal(32, 30)) END,
  n / 50,
  json_object('colour', CASE WHEN n % 2 = 0 THEN 'grün' ELSE 'červená' END, 'stock', n),
  CASE WHEN n % 4 > 0 THEN json_array(n, n + 1, NULL) END,
  n % 8,
  CASE WHEN n % 5 = 0 THEN unhex(md5(n)) END,
  addtime('08:00', sec_to_time(n * 60)),
  date_add('2024-01-02', INTERVAL n HOUR),
  date_add('2024-02-01', INTERVAL n HOUR)
FROM demo_numbers WHERE n <= 200;

INSERT INTO orders (id, user_id, sku, quantity, total, status, note, delivery_days, created_at, updated_at)
SELECT
  lower(insert(insert(insert(insert(md5(concat('order ', n)), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')),
  1 + n % 1000,
  concat('P-', lpad(1 + n % 200, 4, '0')),
  1 + n % 9,
  (1 + n % 9) * (1 + n % 200) * 0.99,
  1 + n % 4,
  CASE WHEN n % 11 = 0 THEN 'ring twice – крыльцо' END,
  CASE WHEN n % 2 = 0 THEN n % 14 END,
  date_add('2024-01-03', INTERVAL n SECOND),
  -- Some were never updated: the NULLs of a track column must not be lost.
  CASE WHEN n % 100 > 0 THEN date_add('2024-02-02', INTERVAL n DIV 500 HOUR) END
FROM demo_numbers;

DROP TEMPORARY TABLE demo_numbers;
