/** What the sources share that are SQLite behind HTTP: the table that is copied. */

import { readFileSync } from 'node:fs';
import { ask } from './programs/ask.mjs';
import { CHANGED } from './source.mjs';

const ROWS = readFileSync(new URL('sources/sqlite.sql', import.meta.url), 'utf8');

/** Storage classes. Values come as they are stored, so a driver's own text is not another one. */
const COLUMNS = {
  id: ['id', 'integer'],
  quantity: ['quantity', 'integer'],
  title: ['title', 'text'],
  body: ['body', 'text'],
  price: ['price', 'real'],
  active: ['active', 'integer'],
  details: ['details', 'text'],
  reference: ['reference', 'text'],
  note: ['note', 'text', 'null'],
  created_at: ['created_at', 'text'],
  updated_at: ['updated_at', 'text'],
};

/** Rows of one statement that makes them, or of one answer. */
const MANY = 10_000;

export const rows = 100_000;

/** The source at `url`, which `server` tells how to ask. */
export function sqliteSource(server, url) {
  const run = (sql) => ask(server, url, sql);
  return {
    url,
    key: 'id',
    forms: { ours: COLUMNS, raw: COLUMNS },
    fill: (count) => fill(run, count),
    read: () => read(run),
    change: (round) => change(run, round),
    close: async () => {},
  };
}

async function fill(run, count) {
  await run(`
    CREATE TABLE events (
      id INTEGER PRIMARY KEY,
      quantity INTEGER NOT NULL,
      title TEXT NOT NULL,
      body TEXT NOT NULL,
      price REAL NOT NULL,
      active BOOLEAN NOT NULL,
      details TEXT NOT NULL,
      reference TEXT NOT NULL,
      note TEXT,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    )`);
  for (let first = 1; first <= count; first += MANY) await add(run, first, Math.min(first + MANY - 1, count));
  // What anyone who reads a large table by `updated_at` has.
  await run('CREATE INDEX events_updated_at ON events (updated_at, id)');
}

function add(run, first, last) {
  return run(ROWS.replaceAll('$first', first).replaceAll('$last', last));
}

async function* read(run) {
  for (let last = 0; ; ) {
    const found = await run(`SELECT * FROM events WHERE id > ${last} ORDER BY id LIMIT ${MANY}`);
    yield found;
    if (found.length < MANY) return;
    last = found.at(-1)[0];
  }
}

async function change(run, round) {
  const [[found]] = await run('SELECT max(id) FROM events');
  const last = Number(found);
  const now = "strftime('%Y-%m-%dT%H:%M:%fZ')";
  await run(`
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${CHANGED} - 1)
    UPDATE events SET price = price + 1, quantity = quantity + 1, updated_at = ${now}
    WHERE id IN (SELECT n * ${last - round} / ${CHANGED} + ${round} FROM numbers UNION SELECT 1)`);
  await add(run, last + 1, last + CHANGED);
  await run(`UPDATE events SET created_at = ${now}, updated_at = ${now} WHERE id > ${last}`);
}
