/**
 * Measures loads into a deployed StarbaseDB beside the posting of the same bytes:
 * `node bench/target.mjs [--rows N] [--rounds N] [--most RATIO] [--no-build]`.
 *
 * What a load sends is written down once. Then, in turn: the load; the same requests sent again, one right after the other,
 * to an empty StarbaseDB; and the same bytes for a statement that does nothing with them. Fails when the load takes more
 * than `--most` times what sending the same requests takes.
 */

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { Agent, createServer, request as send } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import Database from 'better-sqlite3';
import { build } from '../scripts/build.mjs';
import { starbasedbServers } from '../scripts/servers/starbasedb.mjs';
import { ensurePackages, entry, root, Stop } from '../scripts/workspace.mjs';

const WORK = join(root, 'bench', '.work', 'target');
const ROWS = readFileSync(new URL('sources/sqlite.sql', import.meta.url), 'utf8');
const COLUMNS =
  'quantity INTEGER NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL, price REAL NOT NULL, active BOOLEAN NOT NULL, ' +
  'details TEXT NOT NULL, reference TEXT NOT NULL, note TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL';

const agent = new Agent({ keepAlive: true });

function post(url, headers, body, method = 'POST') {
  return new Promise((resolve, reject) => {
    const asked = send(
      url,
      { agent, method, headers: { ...headers, 'content-length': body?.length ?? 0 } },
      (answer) => {
        buffer(answer).then((text) => resolve({ status: answer.statusCode, body: text }), reject);
      },
    );
    asked.on('error', reject).end(body);
  });
}

const seconds = async (work) => {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
};

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** A table in a file of its own. */
function fill(path, rows) {
  const database = new Database(path);
  database.exec(`CREATE TABLE events (id INTEGER PRIMARY KEY, ${COLUMNS})`);
  database.exec(ROWS.replaceAll('$first', 1).replaceAll('$last', rows));
  database.exec('CREATE INDEX events_updated_at ON events (updated_at, id)');
  database.close();
}

/** Lets requests through and keeps those that change something. */
async function recorder(upstream, kept) {
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    if (!/^\{"sql":"\s*SELECT/.test(body.toString('utf8', 0, 100))) kept.push(body);
    const { host, connection, 'content-length': length, 'transfer-encoding': transfer, ...headers } = request.headers;
    const answer = await post(new URL(request.url, upstream), headers, body);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Posts bodies one right after the other. */
async function postAll(place, bodies) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${place.token}` };
  for (const body of bodies) {
    const answer = await post(`${place.url}/query/raw`, headers, body);
    if (answer.status !== 200) throw new Stop(`A request failed: ${answer.status} ${answer.body}`);
  }
}

/** The same parameters for a statement that does nothing with them. */
function idle(body) {
  const { params } = JSON.parse(body);
  return Buffer.from(JSON.stringify({ sql: `SELECT ${params.map(() => '?').join(', ') || 1} IS NULL`, params }));
}

await entry(async () => {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '100000' },
      rounds: { type: 'string', default: '5' },
      most: { type: 'string', default: '1.5' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const [rows, rounds, most] = [values.rows, values.rounds, values.most].map(Number);
  if (!(Number.isInteger(rows) && Number.isInteger(rounds) && rows > 0 && rounds > 0 && most > 0)) {
    throw new Stop('--rows, --rounds and --most take positive numbers');
  }
  await ensurePackages();
  if (!values['no-build']) await build(['--release']);
  const { DataSyncPlugin } = await import('../index.mjs');
  rmSync(WORK, { recursive: true, force: true });
  mkdirSync(WORK, { recursive: true });
  const file = join(WORK, 'source.sqlite');
  process.stdout.write(`Filling a table with ${rows} rows\n`);
  fill(file, rows);
  const server = await starbasedbServers()[0]();
  try {
    const address = new URL(server.url);
    const place = { url: `${address.origin}/events`, token: address.username };
    const empty = () => post(`${address.origin}/control/events`, {}, undefined, 'DELETE');
    const load = async (url) => {
      const plugin = new DataSyncPlugin({
        source: { type: 'sqlite', path: file },
        target: { type: 'starbasedb', url, token: place.token },
        tables: ['events'],
        track_column: 'updated_at',
        log_level: 'error',
      });
      const { rowsInserted } = await plugin.triggerSync();
      if (rowsInserted !== rows) throw new Stop(`${rowsInserted} rows arrived`);
      await plugin.stop();
    };
    const bodies = [];
    const front = await recorder(address.origin, bodies);
    await load(`${front.url}events`);
    front.close();
    const idles = bodies.map(idle);
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    process.stdout.write(`${server.version}, Node.js ${process.version}; ${bodies.length} requests, ${bytes} bytes\n`);
    const times = { load: [], post: [], idle: [] };
    for (let round = 0; round < rounds; round++) {
      await empty();
      times.load.push(await seconds(() => load(place.url)));
      await empty();
      times.post.push(await seconds(() => postAll(place, bodies)));
      await empty();
      times.idle.push(await seconds(() => postAll(place, idles)));
    }
    const [loading, posting, idling] = [times.load, times.post, times.idle].map(median);
    process.stdout.write(
      `A load of ${rows} rows: ${loading.toFixed(2)} s, medians of ${rounds}\n` +
        `The same requests, one right after the other: ${posting.toFixed(2)} s, so a load takes ${(loading / posting).toFixed(2)} of it\n` +
        `The same bytes for nothing: ${idling.toFixed(2)} s, so a load takes ${(loading / idling).toFixed(2)} of it\n`,
    );
    if (loading > most * posting)
      throw new Stop(`A load takes more than ${most} times what sending its requests takes`);
  } finally {
    agent.destroy();
    await server.stop();
    rmSync(WORK, { recursive: true, force: true });
  }
});
