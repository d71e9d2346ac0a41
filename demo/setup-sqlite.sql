-- The demo's tables for SQLite and what is made of it: `sqlite3 FILE < demo/setup-sqlite.sql` creates them where there are
-- none of their names. Without a transaction, which D1 and StarbaseDB don't take. The demo knows its own tables by the
-- name of a constraint.

CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL CONSTRAINT data_sync_demo UNIQUE,
  name TEXT NOT NULL,
  email VARCHAR(200),
  is_active BOOLEAN NOT NULL DEFAULT true,
  balance NUMERIC(12, 2) NOT NULL DEFAULT 0,
  tags TEXT NOT NULL DEFAULT '[]',
  settings TEXT,
  birthday DATE,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX users_updated_at ON users (updated_at);

CREATE TABLE products (
  sku TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  price NUMERIC(10, 2) NOT NULL CONSTRAINT data_sync_demo CHECK (price >= 0),
  -- More digits than a floating-point number holds, which a NUMERIC would make of it.
  exact_weight TEXT,
  rating REAL,
  attributes TEXT NOT NULL DEFAULT '{}',
  sizes TEXT,
  photo BLOB,
  available_from TIME,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX products_updated_at ON products (updated_at, sku);

CREATE TABLE orders (
  id TEXT NOT NULL PRIMARY KEY,
  user_id INTEGER NOT NULL REFERENCES users (id),
  sku TEXT NOT NULL REFERENCES products (sku),
  quantity INTEGER NOT NULL CONSTRAINT data_sync_demo CHECK (quantity > 0),
  total NUMERIC(14, 2) NOT NULL,
  status TEXT NOT NULL DEFAULT 'new',
  note TEXT,
  delivery_days SMALLINT,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  -- NULL until the first update.
  updated_at DATETIME
);
CREATE INDEX orders_updated_at ON orders (updated_at, id);

INSERT INTO users (id, uid, name, email, is_active, balance, tags, settings, birthday, created_at, updated_at) VALUES
  (1, '0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0001', 'Ada Lovelace', 'ada@example.com', true, 1815.12, '["math","engines"]',
   '{"theme":"dark","limits":{"daily":12345678901234567890}}', '1815-12-10', '2024-01-01 09:00:01', '2024-03-01 10:00:00'),
  (2, '0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0002', 'Þórbergur Þórðarson', 'thor@example.is', true, 0.10, '["with, comma",null,""]',
   '{"emoji":"🦊"}', '1888-03-12', '2024-01-01 09:00:02', '2024-03-01 10:00:01'),
  (3, '0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0003', '宮本 武蔵', NULL, false, -42.00, '[]',
   NULL, NULL, '2024-01-01 09:00:03', '2024-03-01 10:00:02'),
  (4, '0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f0004', 'Zoë ''Quote'' Müller', 'zoe@example.de', true, 9999999999.99, '["\"quoted\""]',
   '[]', '2000-02-29', '2024-01-01 09:00:04', '2024-03-01 10:00:03');

INSERT INTO users (id, uid, name, email, is_active, balance, tags, settings, birthday, created_at, updated_at)
WITH RECURSIVE numbers (n) AS (SELECT 5 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
SELECT
  n,
  printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n),
  'User ' || n,
  CASE WHEN n % 10 > 0 THEN 'user' || n || '@example.com' END,
  n % 7 > 0,
  round(n * 1.37, 2),
  json_array('group ' || (n % 5)),
  json_object('n', n, 'parity', CASE n % 2 WHEN 1 THEN 'odd' ELSE 'even' END),
  date('1960-01-01', n || ' days'),
  datetime('2024-01-02', n || ' minutes'),
  datetime('2024-02-01', (n / 100) || ' hours')
FROM numbers;

INSERT INTO products (sku, name, price, exact_weight, rating, attributes, sizes, photo, available_from, created_at, updated_at)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200)
SELECT
  printf('P-%04d', n),
  'Product № ' || n,
  round(n * 0.99, 2),
  CASE WHEN n % 3 > 0 THEN '0.' || replace(hex(zeroblob(10)), '00', n) END,
  n / 50.0,
  json_object('colour', CASE WHEN n % 2 = 0 THEN 'grün' ELSE 'červená' END, 'stock', n),
  CASE WHEN n % 4 > 0 THEN json_array(n, n + 1, NULL) END,
  CASE WHEN n % 5 = 0 THEN CAST(printf('photo %04d', n) AS BLOB) END,
  time('08:00', n || ' minutes'),
  datetime('2024-01-02', n || ' hours'),
  datetime('2024-02-01', n || ' hours')
FROM numbers;

INSERT INTO orders (id, user_id, sku, quantity, total, status, note, delivery_days, created_at, updated_at)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT
  printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n),
  1 + n % 1000,
  printf('P-%04d', 1 + n % 200),
  1 + n % 9,
  round((1 + n % 9) * (1 + n % 200) * 0.99, 2),
  CASE n % 4 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' WHEN 2 THEN 'shipped' ELSE 'returned' END,
  CASE WHEN n % 11 = 0 THEN 'ring twice – крыльцо' END,
  CASE WHEN n % 2 = 0 THEN n % 14 END,
  datetime('2024-01-03', n || ' seconds'),
  -- Some were never updated: the NULLs of a track column must not be lost.
  CASE WHEN n % 100 > 0 THEN datetime('2024-02-02', (n / 500) || ' hours') END
FROM numbers;
