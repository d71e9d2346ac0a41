/**
 * `node by-hand.mjs URL FILE --columns JSON [--track COLUMN] [--stay]`: what a good programmer writes in an afternoon, and
 * the measure of everything else.
 *
 * pg, pg-cursor and better-sqlite3; values stay the strings that PostgreSQL sends (no parser touches them, which is the
 * fastest and loses nothing); the server reads the next 1,000 rows while this thread writes the last 1,000, one
 * transaction each, as upserts. A file that has a position is continued from it. It promises less than we do:
 * rows that commit late are lost, and a copy that was cut off is not made whole.
 */

import pg from 'pg';
import Cursor from 'pg-cursor';
import { copyArguments } from '../arguments.mjs';
import { BATCH, openReplica } from '../replica.mjs';
import { stay } from '../stay.mjs';

const { url, file, types: columnTypes, track, stays } = copyArguments();

const types = { getTypeParser: () => (text) => text };
const client = new pg.Client({ connectionString: url });
await client.connect();
await client.query("SET TimeZone = 'UTC'");

const replica = openReplica(file, columnTypes);
const { columns } = replica;
const [key] = columns;

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

async function load() {
  const top = track
    ? await client.query({
        text: `SELECT ${track}, ${key} FROM events ORDER BY ${track} DESC, ${key} DESC LIMIT 1`,
        rowMode: 'array',
        types,
      })
    : undefined;
  await copy(`SELECT ${columns} FROM events`);
  return top?.rows[0];
}

let position = replica.position();
const fresh = position === undefined;
if (fresh) {
  position = await load();
  if (position) replica.keep(position);
}

async function sync() {
  const { count, last } = await copy(
    `SELECT ${columns} FROM events WHERE (${track}, ${key}) > ($1, $2) ORDER BY ${track}, ${key}`,
    position,
  );
  if (last) {
    position = [last[columns.indexOf(track)], last[0]];
    replica.keep(position);
  }
  return count;
}

if (!fresh) await sync();
if (stays) await stay(sync);
replica.close();
await client.end();
