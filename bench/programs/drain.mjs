/**
 * `node limit.mjs URL [AT_ONCE]` of a server that is asked over HTTP: reads the whole table and throws it away, unparsed.
 * Nothing that asks for one page after the other can be faster.
 *
 * Keys are known beforehand, so a page needn't wait for the last key of the one before, and AT_ONCE of them, else one,
 * are asked for at a time. By node:http, because `fetch` takes some time for what it would do with an answer.
 */

import { Agent, request as send } from 'node:http';
import { ask } from './ask.mjs';

/** Fewer bytes a row are an error's message. */
const LEAST = 200;

const agent = new Agent({ keepAlive: true });

function drain([url, { body, ...options }]) {
  return new Promise((resolve, reject) => {
    const asked = send(url, { ...options, agent }, (answer) => {
      let bytes = 0;
      answer.on('data', (piece) => {
        bytes += piece.length;
      });
      answer.on('error', reject).on('end', () => resolve(bytes));
    });
    asked.on('error', reject).end(body);
  });
}

/** Pages have `page` rows. */
export async function drainByPages(server, page) {
  const [url, atOnce = '1'] = process.argv.slice(2);
  const [[found]] = await ask(server, url, 'SELECT max(id) FROM events');
  const last = Number(found);
  let next = 1;
  const drainer = async () => {
    while (next <= last) {
      const first = next;
      next += page;
      const rows = Math.min(page, last - first + 1);
      const sql = `SELECT * FROM events WHERE id BETWEEN ${first} AND ${first + rows - 1}`;
      const bytes = await drain(server.request(url, sql));
      if (bytes < LEAST * rows) throw new Error(`The server gave only ${bytes} bytes for ${rows} rows`);
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, drainer));
  agent.destroy();
}
