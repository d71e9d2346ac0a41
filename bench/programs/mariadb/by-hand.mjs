/**
 * `node by-hand.mjs URL FILE --columns JSON --track COLUMN [--stay]`: what a good programmer writes in an afternoon, and
 * the measure of everything else.
 *
 * mysql2 and better-sqlite3; values stay the strings that MariaDB sends (which is the fastest and loses nothing); the
 * server sends on while this thread writes the last 1,000 rows, one transaction each, as upserts. A file that has a
 * position is continued from it. It promises less than we do: rows that commit late are lost, and a copy that was cut
 * off is not made whole.
 */

import mysql from 'mysql2';
import { copyArguments } from '../arguments.mjs';
import { BATCH, openReplica } from '../replica.mjs';
import { stay } from '../stay.mjs';

const { url, file, types, track, stays } = copyArguments();

const client = mysql.createConnection({ uri: url, rowsAsArray: true, typeCast: (field) => field.string() });
client.query("SET time_zone = '+00:00'");

const replica = openReplica(file, types);
const { columns } = replica;
const [key] = columns;

/** Writes what `sql` finds. Rows arrive one by one, so nothing has to wait: while a batch is written none is read. */
function copy(sql, values) {
  return new Promise((resolve, reject) => {
    let count = 0;
    let last;
    let rows = [];
    const flush = () => {
      if (rows.length === 0) return;
      replica.write(rows);
      count += rows.length;
      last = rows.at(-1);
      rows = [];
    };
    client
      .query(sql, values)
      .on('result', (row) => {
        if (rows.push(row) === BATCH) flush();
      })
      .on('error', reject)
      .on('end', () => {
        flush();
        resolve({ count, last });
      });
  });
}

async function load() {
  const [[top]] = await client
    .promise()
    .query(`SELECT ${track}, ${key} FROM events ORDER BY ${track} DESC, ${key} DESC LIMIT 1`);
  await copy(`SELECT ${columns} FROM events`);
  return top;
}

let position = replica.position();
const fresh = position === undefined;
if (fresh) {
  position = await load();
  if (position) replica.keep(position);
}

async function sync() {
  const [time, id] = position;
  const { count, last } = await copy(
    `SELECT ${columns} FROM events WHERE ${track} >= ? AND (${track} > ? OR ${key} > ?) ORDER BY ${track}, ${key}`,
    [time, time, id],
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
client.end();
