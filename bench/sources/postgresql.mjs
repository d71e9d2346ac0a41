/** A PostgreSQL of our own with the table that is copied. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CHANGED } from '../source.mjs';

const require = createRequire(import.meta.url);

/** The columns, and what kind each is. */
const MIXED = {
  id: 'integer',
  quantity: 'integer',
  title: 'text',
  body: 'text',
  price: 'numeric',
  active: 'boolean',
  details: 'json',
  reference: 'uuid',
  note: 'text',
  created_at: 'timestamptz',
  updated_at: 'timestamptz',
};

/** Six times the columns, as postgresql-wide.sql names them. */
function wideColumns() {
  const columns = {};
  for (let part = 1; part <= 6; part++) {
    for (const [name, kind] of Object.entries(MIXED)) columns[part > 1 ? `${name}_${part}` : name] = kind;
    if (part > 1) delete columns[`id_${part}`];
  }
  delete columns.updated_at_6;
  return columns;
}

/** The tables: `script` makes the table from what makes the mixed one, `order` is by the key as SQLite compares it. */
export const tables = {
  mixed: { rows: 1_000_000, columns: MIXED, track: 'updated_at' },
  wide: { rows: 100_000, columns: wideColumns(), track: 'updated_at', script: 'postgresql-wide.sql' },
  narrow: {
    rows: 5_000_000,
    columns: { id: 'integer', value: 'integer' },
    track: null,
    script: 'postgresql-narrow.sql',
  },
  'text-keys': {
    rows: 1_000_000,
    columns: { ...MIXED, id: 'text' },
    track: 'updated_at',
    script: 'postgresql-text-keys.sql',
    order: 'id COLLATE "C"',
  },
};

const utc = (name) => `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** How this package writes a kind: the SQL, and the storage classes. */
const OURS = {
  integer: (name) => [name, 'integer'],
  numeric: (name) => [`${name}::float8`, 'real'],
  boolean: (name) => [`${name}::integer`, 'integer'],
  timestamptz: (name) => [utc(name), 'text'],
};

/** How PostgreSQL itself does, as far as SQLite doesn't make a number of it. */
const RAW = {
  ...OURS,
  boolean: (name) => [name, 'text'],
  timestamptz: (name) => [name, 'text'],
};

const formOf = (columns, kinds) =>
  Object.fromEntries(
    Object.entries(columns).map(([name, kind]) => [name, kinds[kind]?.(name) ?? [name, 'text', 'null']]),
  );

export const kind = 'postgresql';
export const rows = tables.mixed.rows;

export async function connect(url, table = 'mixed') {
  const { Client } = require('pg');
  const client = new Client({ connectionString: url });
  await client.connect();
  const { columns, track, script, order = 'id' } = tables[table];
  const forms = { ours: formOf(columns, OURS), raw: formOf(columns, RAW) };
  let last = 0;
  let count = 0;
  return {
    url,
    key: 'id',
    columns,
    track,
    forms,
    count: () => count,
    fill: async (rows) => {
      await fill(client, rows, { script, track });
      last = rows;
      count = rows;
    },
    read: (form) => read(url, forms[form], order),
    change: async (round) => {
      await change(client, last, round);
      last += CHANGED;
      count += CHANGED;
    },
    remove: async (round) => {
      count -= (await client.query(`DELETE FROM events WHERE id IN (${PICKED})`, [last, round])).rowCount;
    },
    close: () => client.end(),
  };
}

const scriptNamed = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');

async function fill(client, count, { script, track }) {
  await client.query(`SET bench.rows = '${script ? 0 : count}'`);
  await client.query(scriptNamed('postgresql.sql'));
  if (script) {
    await client.query(
      `ALTER TABLE events RENAME TO mixed; ALTER INDEX events_updated_at RENAME TO mixed_updated_at;
       ALTER FUNCTION make_events RENAME TO make_mixed`,
    );
    await client.query(scriptNamed(script));
    await client.query(`INSERT INTO events SELECT * FROM make_events(1, ${count})`);
    if (track) await client.query(`CREATE INDEX events_updated_at ON events (${track}, id)`);
  }
  // Hint bits and statistics are written now, not by whoever reads first.
  await client.query('VACUUM (ANALYZE, FREEZE) events');
  await client.query('CHECKPOINT');
}

async function* read(url, form, order) {
  const { Client } = require('pg');
  const Cursor = require('pg-cursor');
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("SET TimeZone = 'UTC'");
    const select = Object.values(form).map(([sql]) => sql);
    const types = { getTypeParser: () => (text) => text };
    const cursor = client.query(
      new Cursor(`SELECT ${select} FROM events ORDER BY ${order}`, [], { rowMode: 'array', types }),
    );
    for (;;) {
      const batch = await cursor.read(10_000);
      if (batch.length === 0) return;
      yield batch;
    }
  } finally {
    await client.end();
  }
}

/** The keys of {@link CHANGED} rows all over the table, from the number of its last row and that of the round. */
const PICKED = `
  SELECT made.id
  FROM (
    SELECT (n * ($1::bigint - $2)) / ${CHANGED} + $2 AS number FROM generate_series(1, ${CHANGED} - 1) AS n UNION SELECT 1
  ) AS picked
  CROSS JOIN LATERAL make_events(number, number) AS made`;

async function change(client, last, round) {
  const [first, end] = [last + 1, last + CHANGED];
  await client.query('BEGIN');
  await client.query(
    `UPDATE events SET price = price + 1, quantity = quantity + 1, updated_at = clock_timestamp() WHERE id IN (${PICKED})`,
    [last, round],
  );
  await client.query('INSERT INTO events SELECT * FROM make_events($1, $2)', [first, end]);
  await client.query(
    `UPDATE events SET created_at = now(), updated_at = clock_timestamp()
     WHERE id IN (SELECT id FROM make_events($1, $2))`,
    [first, end],
  );
  await client.query('COMMIT');
}
