/**
 * `node responsive.mjs URL FILE [--apart]`: tells, as JSON on stdout, how long the event loop stood still and `getSyncStatus`
 * took while the table was loaded: in this process or, `--apart`, in another one, which shows what is the machine's part.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pluginFor } from './plugin.mjs';

/** Milliseconds between two looks at the event loop. */
const RESOLUTION = 1;

/** Milliseconds from an answer to the next question. */
const PAUSE = 50;

const [url, file, mode] = process.argv.slice(2);
const plugin = pluginFor(url, file);

async function loadApart() {
  const program = fileURLToPath(new URL('ours.mjs', import.meta.url));
  const [code] = await once(spawn(process.execPath, [program, url, file], { stdio: 'inherit' }), 'exit');
  if (code !== 0) throw new Error(`The load ended with exit code ${code}`);
}

// Starting a process, and a first question, take time that has nothing to do with a load.
await plugin.getSyncStatus();
const load = mode === '--apart' ? loadApart() : plugin.triggerSync();
let loading = true;
const loaded = load.finally(() => {
  loading = false;
});
const delays = monitorEventLoopDelay({ resolution: RESOLUTION });
delays.enable();
const begin = performance.now();
const statuses = [];
while (loading) {
  const asked = performance.now();
  await plugin.getSyncStatus();
  statuses.push(performance.now() - asked);
  await Promise.race([loaded, delay(PAUSE)]);
}
delays.disable();
const wall = performance.now() - begin;
await loaded;
await plugin.stop();

// What is recorded is the time from look to look.
const stall = Math.max(0, delays.max / 1e6 - RESOLUTION);
process.stdout.write(JSON.stringify({ wall, stall, statuses }));
