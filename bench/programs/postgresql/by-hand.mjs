/**
 * `node by-hand.mjs URL FILE [--stay]`: what a good programmer writes in an afternoon, and the measure of everything else.
 *
 * pg, pg-cursor and better-sqlite3; values stay the strings that PostgreSQL sends (no parser touches them, which is the
 * fastest and loses nothing); the server reads the next 1,000 rows while this thread writes the last 1,000, one
 * transaction each, as upserts. It promises less than we do: rows that commit late are lost, and a copy that was cut off
 * begins anew.
 */

import pg from 'pg';
import Cursor from 'pg-cursor';
import { BATCH, openReplica } from '../replica.mjs';
import { stay } from '../stay.mjs';

const [url, file, mode] = process.argv.slice(2);

const types = { getTypeParser: () => (text) => text };
const client = new pg.Client({ connectionString: url });
await client.connect();
await client.query("SET TimeZone = 'UTC'");

const replica = openReplica(file, {
  id: 'INTEGER',
  quantity: 'INTEGER',
  title: 'TEXT',
  body: 'TEXT',
  price: 'REAL',
  active: 'INTEGER',
  details: 'TEXT',
  reference: 'TEXT',
  note: 'TEXT',
  created_at: 'TEXT',
  updated_at: 'TEXT',
});
const { columns } = replica;

async function copy(sql, values) {
  const cursor = client.query(new Cursor(sql, values, { rowMode: 'array', types }));
  let count = 0;
  let last;
  let next = cursor.read(BATCH);
  for (;;) {
    const rows = await next;
    if (rows.length === 0) break;
    next = cursor.read(BATCH);
    replica.write(rows);
    count += rows.length;
    last = rows.at(-1);
  }
  await cursor.close();
  return { count, last };
}

const top = await client.query({
  text: 'SELECT updated_at, id FROM events ORDER BY updated_at DESC, id DESC LIMIT 1',
  rowMode: 'array',
  types,
});
await copy(`SELECT ${columns} FROM events`);

let position = top.rows[0];

async function sync() {
  const { count, last } = await copy(
    `SELECT ${columns} FROM events WHERE (updated_at, id) > ($1, $2) ORDER BY updated_at, id`,
    position,
  );
  if (last) position = [last[columns.indexOf('updated_at')], last[0]];
  return count;
}

if (mode === '--stay') await stay(sync);
replica.close();
await client.end();
