/**
 * The replica's process: `node --expose-gc runner.mjs OPTIONS SECONDS` syncs by its schedule, and tells what it takes as lines of JSON, until its stdin
 * ends; then it syncs once more, verifies, and tells the end.
 */

import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { held } from '../held.mjs';

const require = createRequire(import.meta.url);
const { DataSyncPlugin } = require('../..');
const [json, every] = process.argv.slice(2);
const options = JSON.parse(json);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const plugin = new DataSyncPlugin(options);
const runs = { completed: 0, failed: 0, rows: 0, longest: 0, last: null };
plugin.on('syncComplete', ({ durationMs, rowsInserted, rowsUpdated, rowsDeleted }) => {
  runs.completed += 1;
  runs.rows += rowsInserted + rowsUpdated + rowsDeleted;
  runs.longest = Math.max(runs.longest, durationMs);
});
plugin.on('syncError', (error) => {
  // The run that stop() ends at the end.
  if (error.code === 'CLOSED') return;
  runs.failed += 1;
  runs.last = `${error.code}: ${error.message}`;
});

/** Of files that may not be there. */
const size = (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const timer = setInterval(() => {
  say({ ...held(), log: size(`${options.database}-wal`), ...runs });
  runs.longest = 0;
}, every * 1000);

await plugin.triggerSync();
plugin.start();
say('ready');
process.stdin.resume();
await new Promise((resolve) => process.stdin.on('end', resolve));
clearInterval(timer);
await plugin.stop();
const begin = performance.now();
await plugin.triggerSync();
const { tables } = await plugin.verify();
const status = await plugin.getSyncStatus();
await plugin.stop();
say({ ...runs, lastRun: performance.now() - begin, verified: tables, status: status.tableMap });
