/**
 * Loads a large table and fails when the process ever held more than it may:
 * `node bench/memory.mjs [--source NAME] [--rows N] [--limit MB]`.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from '../scripts/build.mjs';
import { ensurePackages, entry, root, Stop } from '../scripts/workspace.mjs';
import { checkCopy, expected } from './check.mjs';
import { measure } from './measure.mjs';
import ours from './peers/ours.mjs';
import { sourceNamed, startSource } from './source.mjs';

const WORK = join(root, 'bench', '.work');

await entry(async () => {
  const { values } = parseArgs({
    options: {
      source: { type: 'string', default: 'postgresql' },
      rows: { type: 'string' },
      limit: { type: 'string', default: '150' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const name = values.source;
  const module = await sourceNamed(name);
  const [rows, limit] = [Number(values.rows ?? 5 * module.rows), Number(values.limit)];
  if (!Number.isInteger(rows) || rows < 1 || !(limit > 0)) throw new Stop('--rows and --limit take positive numbers');
  await ensurePackages();
  if (!values['no-build']) await build(['--release']);
  const folder = join(WORK, 'memory');
  mkdirSync(folder, { recursive: true });
  process.stdout.write(`Filling a table with ${rows} rows\n`);
  const source = await startSource(module, rows);
  try {
    const file = join(folder, 'ours.sqlite');
    const { wall, memory } = await measure(ours.load(source, file));
    checkCopy(file, source, ours.form, await expected(source, ours.form));
    const megabytes = memory / 1e6;
    process.stdout.write(
      `${rows} rows in ${wall.toFixed(1)} s; peak memory of the process: ${megabytes.toFixed(1)} MB\n`,
    );
    if (megabytes > limit) throw new Stop(`That is above the limit of ${limit} MB`);
  } finally {
    await source.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
