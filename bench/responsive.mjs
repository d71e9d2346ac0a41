/**
 * Loads a table in a process that does other things, too, and fails when these had to wait for too long:
 * `node bench/responsive.mjs [--source NAME] [--rows N] [--stall MS] [--status MS]`.
 *
 * On a busy machine every process waits at times. So the same is measured while another process loads.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from '../scripts/build.mjs';
import { ensurePackages, entry, outcome, root, Stop } from '../scripts/workspace.mjs';
import { checkCopy, expected } from './check.mjs';
import ours from './peers/ours.mjs';
import { sourceNamed, startSource } from './source.mjs';

const WORK = join(root, 'bench', '.work');
const PROGRAM = fileURLToPath(new URL('programs/responsive.mjs', import.meta.url));

/** What the program found, and the copy that came of it. */
async function watch(source, file, ...mode) {
  const { code, stdout, stderr } = await outcome(process.execPath, [PROGRAM, source.url, file, ...mode]);
  if (code !== 0) throw new Stop(`${PROGRAM}: exit code ${code}: ${stderr.trim()}`);
  checkCopy(file, source, ours.form, await expected(source, ours.form));
  const { wall, stall, statuses } = JSON.parse(stdout);
  const sorted = statuses.toSorted((a, b) => a - b);
  return { wall, stall, asked: sorted.length, median: sorted[sorted.length >> 1], slowest: sorted.at(-1) };
}

function print(where, { wall, stall, asked, median, slowest }) {
  const status = `${asked} answers of getSyncStatus(): median ${median.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms`;
  const loop = `longest stall of the event loop ${stall.toFixed(1)} ms`;
  process.stdout.write(`Loading in ${where}, ${(wall / 1000).toFixed(1)} s: ${loop}; ${status}\n`);
}

await entry(async () => {
  const { values } = parseArgs({
    options: {
      source: { type: 'string', default: 'postgresql' },
      rows: { type: 'string' },
      stall: { type: 'string', default: '10' },
      status: { type: 'string', default: '20' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const module = await sourceNamed(values.source);
  const [rows, stall, status] = [values.rows ?? module.rows, values.stall, values.status].map(Number);
  if (!Number.isInteger(rows) || !(rows > 0 && stall > 0 && status > 0)) {
    throw new Stop('--rows, --stall and --status take positive numbers');
  }
  await ensurePackages();
  if (!values['no-build']) await build(['--release']);
  const folder = join(WORK, 'responsive');
  mkdirSync(folder, { recursive: true });
  process.stdout.write(`Filling a table with ${rows} rows\n`);
  const source = await startSource(module, rows);
  try {
    print('another process', await watch(source, join(folder, 'apart.sqlite'), '--apart'));
    const here = await watch(source, join(folder, 'here.sqlite'));
    print('the same process', here);
    if (here.stall > stall) throw new Stop(`The event loop stood still for more than ${stall} ms`);
    if (here.slowest > status) throw new Stop(`getSyncStatus() took more than ${status} ms`);
  } finally {
    await source.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
