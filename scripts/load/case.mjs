/** One case in a process of its own: `node --expose-gc case.mjs CASE URL COUNT FOLDER`. Says `{ figures, faults }` as JSON. */

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { held } from '../held.mjs';

const require = createRequire(import.meta.url);
const { Client } = require('pg');
const { DataSyncPlugin } = require('../..');

const [name, url, counted, folder] = process.argv.slice(2);
const count = Number(counted);
const client = new Client({ connectionString: url });
await client.connect();

const figures = [];
const faults = [];
const expect = (good, words) => {
  if (!good) faults.push(words);
};

/** A plugin with a file of its own. What it tells of failures is kept. */
function plugin(file, options) {
  const plugin = new DataSyncPlugin({
    source: { type: 'postgresql', url },
    database: join(folder, file),
    log_level: 'silent',
    ...options,
  });
  plugin.on('syncError', ({ code, message }) => {
    // What stop() ends is meant to end.
    if (code !== 'ABORTED' && code !== 'CLOSED') faults.push(`${code}: ${message}`);
  });
  return plugin;
}

async function timed(work) {
  const begin = performance.now();
  const result = await work();
  return { result, ms: Math.round(performance.now() - begin) };
}

/** Milliseconds after which a thread that has nothing to do has ended: the runtime keeps it for ten seconds. */
const IDLE = 11_000;

/** What the process holds after so many milliseconds: what ended has let go a moment later. */
async function later(after = 500) {
  await new Promise((resolve) => setTimeout(resolve, after));
  // What the first collection frees lets go of more, which the next one frees.
  held();
  await new Promise((resolve) => setTimeout(resolve, 100));
  return held();
}

/** How much more than before a process may hold. */
const SPARE = { memory: 24e6, heap: 4e6, handles: 2, threads: 2 };

function compare(before, after) {
  for (const [what, spare] of Object.entries(SPARE)) {
    figures.push(`${what}: ${before[what]} when warm, ${after[what]} at the end`);
    expect(after[what] <= before[what] * 1.1 + spare, `${what} grew from ${before[what]} to ${after[what]}`);
  }
}

const ITEMS = `(id bigint PRIMARY KEY, name text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())`;

async function fill(table, rows) {
  await client.query(
    `CREATE TABLE ${table} ${ITEMS}; INSERT INTO ${table} SELECT i, 'item ' || i FROM generate_series(1, ${rows}) i`,
  );
}

const cases = {
  async tables() {
    const ROWS = 10;
    const names = Array.from({ length: count }, (_, at) => `t${at}`);
    for (const table of names) await fill(table, ROWS);
    const sync = plugin('replica.sqlite', {});
    const first = await timed(() => sync.triggerSync());
    expect(first.result.rowsInserted === count * ROWS, `${first.result.rowsInserted} rows of ${count * ROWS}`);
    const warm = await later();
    const second = await timed(() => sync.triggerSync());
    expect(second.result.rowsInserted + second.result.rowsUpdated === 0, 'a run without news wrote rows');
    for (const table of names) await client.query(`INSERT INTO ${table} VALUES (0, 'new')`);
    const third = await timed(() => sync.triggerSync());
    expect(third.result.rowsInserted === count, `${third.result.rowsInserted} new rows of ${count}`);
    const { result, ms } = await timed(() => sync.verify());
    const wrong = Object.values(result.tables).filter((table) => table.missing + table.extra + table.different > 0);
    expect(Object.keys(result.tables).length === count && wrong.length === 0, `verify() names ${wrong.length} tables`);
    figures.push(`first load ${first.ms} ms, no news ${second.ms} ms, a row in each ${third.ms} ms, verify() ${ms} ms`);
    compare(warm, await later());
    await sync.stop();
  },

  async instances() {
    const [ROWS, ROUNDS] = [500, 5];
    await fill('items', ROWS);
    const all = Array.from({ length: count }, (_, at) =>
      plugin(`replica-${at}.sqlite`, { retry: { attempts: 20, base_ms: 50, max_ms: 1000 } }),
    );
    const round = () => Promise.all(all.map((sync) => sync.triggerSync()));
    const first = await timed(round);
    const whole = first.result.filter(({ rowsInserted }) => rowsInserted === ROWS).length;
    expect(whole === count, `${whole} of ${count} replicas are whole`);
    let warm;
    for (let at = 1; at <= ROUNDS; at++) {
      // A second run opens what a first one has no use for.
      if (at === 2) warm = await later(IDLE);
      await client.query('INSERT INTO items VALUES ($1, $2)', [ROWS + at, 'new']);
      const { result, ms } = await timed(round);
      const good = result.filter(({ rowsInserted }) => rowsInserted === 1).length;
      expect(good === count, `${good} of ${count} replicas got the new row`);
      figures.push(`round ${at}: ${ms} ms`);
    }
    compare(warm, await later(IDLE));
    await Promise.all(all.map((sync) => sync.stop()));
  },

  async cycles() {
    await fill('items', 200);
    const options = { sync_interval: 1 };
    const kept = plugin('kept.sqlite', options);
    const cycle = async (at) => {
      const sync = at % 2 === 0 ? kept : plugin('new.sqlite', options);
      sync.start();
      // Some stop at once, some in the middle of the run, some after it.
      if (at % 4 > 1) await new Promise((resolve) => setTimeout(resolve, at % 20));
      await sync.stop();
    };
    for (let at = 0; at < count / 10; at++) await cycle(at);
    const warm = await later();
    const { ms } = await timed(async () => {
      for (let at = 0; at < count; at++) await cycle(at);
    });
    figures.push(`${count} cycles in ${ms} ms`);
    compare(warm, await later());
    for (const file of ['kept.sqlite', 'new.sqlite']) {
      const sync = plugin(file, options);
      await sync.triggerSync();
      const { tables } = await sync.verify();
      const { missing, extra, different } = tables.items;
      expect(missing + extra + different === 0, `${file} differs`);
      await sync.stop();
    }
  },

  async triggers() {
    const ROWS = 2000;
    await fill('items', ROWS);
    const sync = plugin('replica.sqlite', {});
    let runs = 0;
    sync.on('syncComplete', () => {
      runs += 1;
    });
    const all = () => Promise.all(Array.from({ length: count }, () => sync.triggerSync()));
    const { result, ms } = await timed(all);
    expect(result.length === count, `${result.length} of ${count} calls were answered`);
    expect(runs <= 2, `${runs} runs, though one in hand and one after it are enough`);
    figures.push(`${count} calls answered in ${ms} ms by ${runs} runs`);
    const warm = await later();
    for (let at = 0; at < 10; at++) await all();
    compare(warm, await later());
    await sync.stop();
  },
};

await cases[name]();
await client.end();
process.stdout.write(JSON.stringify({ figures, faults }));
