/**
 * `node by-hand.mjs URL FILE [--stay]` of a server that is asked over HTTP: what a good programmer writes in an afternoon, and
 * the measure of everything else.
 *
 * `fetch` and better-sqlite3; pages of 5,000 rows, each from behind the last key of the one before; the server reads the
 * next one while this thread writes, 1,000 rows a transaction, as upserts. It promises less than we do: rows that commit
 * late are lost, a copy that was cut off begins anew, and JSON's numbers are JavaScript's.
 */

import { setImmediate } from 'node:timers/promises';
import { ask } from './ask.mjs';
import { BATCH, openReplica } from './replica.mjs';
import { stay } from './stay.mjs';

/** How many rows one answer has. */
const PAGE = 5000;

export async function copyByPages(server) {
  const [url, file, mode] = process.argv.slice(2);
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

  /** Copies the rows behind `position`, the values of the columns in `order`. */
  async function copy(order, position) {
    const sql = `SELECT ${columns} FROM events WHERE (${order}) > (${order.map(() => '?')}) ORDER BY ${order} LIMIT ${PAGE}`;
    let count = 0;
    let last = position;
    let next = ask(server, url, sql, last);
    for (;;) {
      const rows = await next;
      count += rows.length;
      if (rows.length > 0) last = order.map((name) => rows.at(-1)[columns.indexOf(name)]);
      const more = rows.length === PAGE;
      if (more) {
        next = ask(server, url, sql, last);
        // Lets the request leave before this thread is busy.
        await setImmediate();
      }
      for (let from = 0; from < rows.length; from += BATCH) replica.write(rows.slice(from, from + BATCH));
      if (!more) return { count, last };
    }
  }

  const [top] = await ask(server, url, 'SELECT updated_at, id FROM events ORDER BY updated_at DESC, id DESC LIMIT 1');
  await copy(['id'], [0]);

  let position = top;

  async function sync() {
    const { count, last } = await copy(['updated_at', 'id'], position);
    position = last;
    return count;
  }

  if (mode === '--stay') await stay(sync);
  replica.close();
}
