/**
 * `node by-hand.mjs URL FILE [--stay]`: what a good programmer writes in an afternoon, and the measure of everything else.
 *
 * mysql2 and better-sqlite3; values stay the strings that MariaDB sends (which is the fastest and loses nothing); the
 * server sends on while this thread writes the last 1,000 rows, one transaction each, as upserts. It promises less than we
 * do: rows that commit late are lost, and a copy that was cut off begins anew.
 */

import mysql from 'mysql2';
import { BATCH, openReplica } from '../replica.mjs';
import { stay } from '../stay.mjs';

const [url, file, mode] = process.argv.slice(2);

const client = mysql.createConnection({ uri: url, rowsAsArray: true, typeCast: (field) => field.string() });
client.query("SET time_zone = '+00:00'");

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

const [top] = await client
  .promise()
  .query('SELECT updated_at, id FROM events ORDER BY updated_at DESC, id DESC LIMIT 1')
  .then(([rows]) => rows);
await copy(`SELECT ${columns} FROM events`);

let position = top;

async function sync() {
  const [time, id] = position;
  const { count, last } = await copy(
    `SELECT ${columns} FROM events WHERE updated_at >= ? AND (updated_at > ? OR id > ?) ORDER BY updated_at, id`,
    [time, time, id],
  );
  if (last) position = [last[columns.indexOf('updated_at')], last[0]];
  return count;
}

if (mode === '--stay') await stay(sync);
replica.close();
client.end();
