/** Processes that end at a random time in every way there is: none may crash, and what each leaves is whole. */

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../workspace.mjs';

const require = createRequire(import.meta.url);

/** The ways, each as what the process does after a delay, and how it then ends: its exit code or the signal. */
const WAYS = {
  'process.exit': { does: 'process.exit(3)', ends: 3 },
  'uncaught exception': { does: "throw new Error('thrown on purpose')", ends: 1 },
  'rejected promise': { does: "Promise.reject(new Error('rejected on purpose'))", ends: 1 },
  SIGTERM: { does: "process.kill(process.pid, 'SIGTERM')", ends: 'SIGTERM' },
  SIGINT: { does: "process.kill(process.pid, 'SIGINT')", ends: 'SIGINT' },
  SIGKILL: { does: "process.kill(process.pid, 'SIGKILL')", ends: 'SIGKILL' },
  'stop()': { does: 'plugin.stop()', ends: 0 },
  'stop() and exit': { does: 'plugin.stop(); process.exit(4)', ends: 4 },
  'worker terminated': { worker: 'worker.terminate()', ends: 0 },
  'worker exits': { does: 'process.exit(5)', worker: '', ends: 0 },
  'exit with a worker': { worker: 'process.exit(6)', ends: 6 },
};

/** Milliseconds in which a whole load is done. */
const LONGEST = 250;
const ROWS = 3000;
const AT_ONCE = 4;

/** Lets `count` processes end, on replicas of their own in `folder`. Gives what is wrong. */
export async function endings(url, count, folder) {
  const { Client } = require('pg');
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(
    `CREATE TABLE endings (id bigint PRIMARY KEY, name text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
     INSERT INTO endings SELECT i, repeat('item ', 20) || i FROM generate_series(1, ${ROWS}) i`,
  );
  await client.end();
  const faults = [];
  const ways = Object.keys(WAYS);
  const seen = { begun: 0, whole: 0 };
  let next = 0;
  const work = async (lane) => {
    for (let at = next++; at < count; at = next++) {
      const way = ways[at % ways.length];
      const delay = Math.floor(Math.random() * LONGEST);
      const file = join(folder, `replica-${lane}-${at}.sqlite`);
      const options = {
        source: { type: 'postgresql', url },
        database: file,
        tables: ['endings'],
        batch_size: 50,
        sync_interval: 1 / 60,
        log_level: 'silent',
      };
      const fault = (await end(way, delay, options)) ?? (await left(file, options, seen));
      if (fault) faults.push(`${way} after ${delay} ms: ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, lane) => work(lane)));
  process.stdout.write(
    `${count} processes in ${ways.length} ways: ${seen.begun} left a part, ${seen.whole} the whole\n`,
  );
  return faults;
}

function scriptOf({ does = '', worker }, delay, options) {
  const begin = `
    const { DataSyncPlugin } = require(${JSON.stringify(root)});
    const plugin = new DataSyncPlugin(${JSON.stringify(options)});
    plugin.start();
    for (let at = 0; at < 3; at++) plugin.triggerSync().catch(() => {});`;
  const after = (what) => `setTimeout(() => { ${what} }, ${delay});`;
  if (worker === undefined) return begin + after(does);
  const code = JSON.stringify(begin + (does ? after(does) : ''));
  return `
    const { Worker } = require('node:worker_threads');
    const worker = new Worker(${code}, { eval: true });
    worker.on('online', () => ${worker ? `setTimeout(() => { ${worker} }, ${delay})` : '{}'});`;
}

/** Lets one process end; gives what is wrong with that. */
async function end(way, delay, options) {
  const child = spawn(process.execPath, ['-e', scriptOf(WAYS[way], delay, options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const timer = setTimeout(() => child.kill('SIGABRT'), 30_000);
  const ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  clearTimeout(timer);
  return ended === WAYS[way].ends ? null : `it ended by ${ended}: ${said.trim().split('\n')[0]}`;
}

/** Looks at what a process left, completes it, and gives what is wrong. */
async function left(file, options, seen) {
  const Database = require('better-sqlite3');
  const { DataSyncPlugin } = require(root);
  const plugin = new DataSyncPlugin(options);
  try {
    const counted = (await plugin.getSyncStatus()).tableMap.endings?.recordCount ?? 0;
    if (counted > 0) {
      const replica = new Database(file, { readonly: true });
      const check = replica.pragma('integrity_check', { simple: true });
      const there = replica.prepare('SELECT count(*) FROM endings').pluck().get();
      replica.close();
      if (check !== 'ok') return `integrity_check: ${check}`;
      if (there !== counted) return `the state says ${counted} rows, there are ${there}`;
      seen[there < ROWS ? 'begun' : 'whole'] += 1;
    }
    await plugin.triggerSync();
    const { rows, missing, extra, different } = (await plugin.verify()).tables.endings;
    return rows === ROWS && missing + extra + different === 0 ? null : 'the next run did not make it equal';
  } finally {
    await plugin.stop();
  }
}
