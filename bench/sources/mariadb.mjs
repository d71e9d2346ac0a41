/** A MariaDB of our own with the table that is copied. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CHANGED } from '../source.mjs';

const require = createRequire(import.meta.url);

const TABLE = readFileSync(new URL('mariadb.sql', import.meta.url), 'utf8');

/** The columns, and what kind each is. */
const COLUMNS = {
  id: 'integer',
  quantity: 'integer',
  title: 'text',
  body: 'text',
  price: 'numeric',
  active: 'integer',
  details: 'json',
  reference: 'text',
  note: 'text',
  created_at: 'timestamp',
  updated_at: 'timestamp',
};

const TIME = (name) => `date_format(${name}, '%Y-%m-%dT%H:%i:%s.%fZ')`;

const OURS = {
  id: ['id', 'integer'],
  quantity: ['quantity', 'integer'],
  title: ['title', 'text'],
  body: ['body', 'text'],
  price: ['cast(price AS double)', 'real'],
  active: ['active', 'integer'],
  details: ['details', 'text'],
  reference: ['reference', 'text'],
  note: ['note', 'text', 'null'],
  created_at: [TIME('created_at'), 'text'],
  updated_at: [TIME('updated_at'), 'text'],
};

const FORMS = {
  ours: OURS,
  /** MariaDB's own text, as far as SQLite doesn't make a number of it. */
  raw: { ...OURS, created_at: ['created_at', 'text'], updated_at: ['updated_at', 'text'] },
};

export const kind = 'mysql';
export const rows = 1_000_000;

export async function connect(server) {
  const { createConnection } = require('mysql2/promise');
  const client = await createConnection({ uri: server, multipleStatements: true });
  const url = new URL('bench', server).href;
  let count = 0;
  return {
    url,
    key: 'id',
    columns: COLUMNS,
    track: 'updated_at',
    forms: FORMS,
    count: () => count,
    fill: async (rows) => {
      await fill(client, rows);
      count = rows;
    },
    read: (form) => read(url, FORMS[form]),
    change: async (round) => {
      await change(client, round);
      count += CHANGED;
    },
    remove: async (round) => {
      count -= (
        await client.query(`DELETE events FROM events JOIN (${PICKED}) AS picked USING (id)`, [count, round])
      )[0].affectedRows;
    },
    close: () => client.end(),
  };
}

async function fill(client, count) {
  await client.query('CREATE DATABASE bench; USE bench');
  await client.query(`SET @first = 1, @last = ?; ${TABLE}`, [count]);
  // What anyone who reads a large table by `updated_at` has.
  await client.query('CREATE INDEX events_updated_at ON events (updated_at, id); ANALYZE TABLE events');
}

async function* read(url, form) {
  const { createConnection } = require('mysql2');
  const client = createConnection({ uri: url });
  try {
    client.query("SET time_zone = '+00:00'");
    const select = Object.values(form).map(([sql]) => sql);
    const sql = `SELECT ${select} FROM events ORDER BY id`;
    const stream = client.query({ sql, rowsAsArray: true, typeCast: (field) => field.string() }).stream();
    let batch = [];
    for await (const row of stream) {
      if (batch.push(row) < 10_000) continue;
      yield batch;
      batch = [];
    }
    yield batch;
  } finally {
    client.destroy();
  }
}

/** The keys of {@link CHANGED} rows all over the table. */
const PICKED = `SELECT (seq * ?) DIV ${CHANGED} + ? AS id FROM seq_1_to_${CHANGED - 1} UNION SELECT 1`;

async function change(client, round) {
  const [[{ last }]] = await client.query('SELECT max(id) AS last FROM events');
  await client.query('START TRANSACTION');
  await client.query(
    `UPDATE events JOIN (${PICKED}) AS picked USING (id)
     SET price = price + 1, quantity = quantity + 1, updated_at = sysdate(6)`,
    [last - round, round],
  );
  await client.query(`SET @first = ?, @last = ?; ${TABLE}`, [last + 1, last + CHANGED]);
  await client.query('UPDATE events SET created_at = now(6), updated_at = sysdate(6) WHERE id > ?', [last]);
  await client.query('COMMIT');
}
