/** A PostgreSQL of our own with the table that is copied. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CHANGED } from '../source.mjs';

const require = createRequire(import.meta.url);

const TIME = (name) => `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const OURS = {
  id: ['id', 'integer'],
  quantity: ['quantity', 'integer'],
  title: ['title', 'text'],
  body: ['body', 'text'],
  price: ['price::float8', 'real'],
  active: ['active::integer', 'integer'],
  details: ['details', 'text'],
  reference: ['reference', 'text'],
  note: ['note', 'text', 'null'],
  created_at: [TIME('created_at'), 'text'],
  updated_at: [TIME('updated_at'), 'text'],
};

const FORMS = {
  ours: OURS,
  /** PostgreSQL's own text, as far as SQLite doesn't make a number of it. */
  raw: {
    ...OURS,
    active: ['active', 'text'],
    created_at: ['created_at', 'text'],
    updated_at: ['updated_at', 'text'],
  },
};

export const kind = 'postgresql';
export const rows = 1_000_000;

export async function connect(url) {
  const { Client } = require('pg');
  const client = new Client({ connectionString: url });
  await client.connect();
  return {
    url,
    key: 'id',
    forms: FORMS,
    fill: (count) => fill(client, count),
    read: (form) => read(url, FORMS[form]),
    change: (round) => change(client, round),
    close: () => client.end(),
  };
}

async function fill(client, count) {
  await client.query(`SET bench.rows = '${count}'`);
  await client.query(readFileSync(new URL('postgresql.sql', import.meta.url), 'utf8'));
  // Hint bits and statistics are written now, not by whoever reads first.
  await client.query('VACUUM (ANALYZE, FREEZE) events');
  await client.query('CHECKPOINT');
}

async function* read(url, form) {
  const { Client } = require('pg');
  const Cursor = require('pg-cursor');
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("SET TimeZone = 'UTC'");
    const select = Object.values(form).map(([sql]) => sql);
    const types = { getTypeParser: () => (text) => text };
    const cursor = client.query(
      new Cursor(`SELECT ${select} FROM events ORDER BY id`, [], { rowMode: 'array', types }),
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

async function change(client, round) {
  const { rows } = await client.query('SELECT max(id) AS last FROM events');
  const last = BigInt(rows[0].last);
  await client.query('BEGIN');
  await client.query(
    `UPDATE events SET price = price + 1, quantity = quantity + 1, updated_at = clock_timestamp()
     WHERE id IN (SELECT (n * $1::bigint) / ${CHANGED} + $2 FROM generate_series(1, ${CHANGED} - 1) AS n UNION SELECT 1)`,
    [last - BigInt(round), round],
  );
  await client.query(
    `INSERT INTO events SELECT id, quantity, title, body, price, active, details, reference, note, now(), clock_timestamp()
     FROM make_events($1, $2)`,
    [last + 1n, last + BigInt(CHANGED)],
  );
  await client.query('COMMIT');
}
