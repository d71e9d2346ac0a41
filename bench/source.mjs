/** The source of every measurement: a PostgreSQL of our own with the table that is copied. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startServers } from '../scripts/servers.mjs';

const require = createRequire(import.meta.url);

/** How many rows {@link changeRows} changes, and how many it adds. */
export const CHANGED = 1000;

/** Starts PostgreSQL and fills the table with `rows` rows. */
export async function startSource(rows) {
  const { servers, stop } = await startServers({ all: false });
  const [{ url, version }] = servers;
  const { Client } = require('pg');
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(`SET bench.rows = '${rows}'`);
  await client.query(readFileSync(new URL('table.sql', import.meta.url), 'utf8'));
  // Hint bits and statistics are written now, not by whoever reads first.
  await client.query('VACUUM (ANALYZE, FREEZE) events');
  await client.query('CHECKPOINT');
  return {
    url,
    version,
    client,
    stop: async () => {
      await client.end();
      await stop();
    },
  };
}

/** Updates some rows all over the table and adds as many; `round` sees to it that they are others each time. */
export async function changeRows({ client }, round) {
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
