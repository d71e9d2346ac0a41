/**
 * Asks more of one process than users do: `npm run load -- [--scale N] [--no-build] [case...]`, all cases at scale 1 unless told otherwise.
 *
 * - `tables`: 1,000 tables in one run, then a run that finds nothing, then one that finds a row in each
 * - `instances`: 100 instances in one process, each with a file of its own, that sync at the same time, again and again
 * - `cycles`: 10,000 times started and stopped, half of them by a new instance
 * - `triggers`: 1,000 calls of `triggerSync` at the same time
 * - `endings`: 500 processes that end at a random time in every way there is
 *
 * A smaller scale makes all of these numbers smaller. Nothing may fail or differ, and what a case holds at its end (memory, handles, threads) must be
 * what it held when it was warm.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { endings } from './load/endings.mjs';
import { withServers } from './servers.mjs';
import { ensurePackages, entry, root, Stop, step } from './workspace.mjs';

const require = createRequire(import.meta.url);

/** How much there is of each at scale 1. */
const CASES = { tables: 1000, instances: 100, cycles: 10_000, triggers: 1000, endings: 500 };

await entry(async () => {
  const { chosen, scale, built } = wishes();
  await ensurePackages();
  if (!built) await build(['--release']);
  return withServers((env) => tryAll(chosen, scale, firstServer(env)), { only: ['postgresql'] });
});

function wishes() {
  const { values, positionals } = parseArgs({
    options: { scale: { type: 'string', default: '1' }, 'no-build': { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const scale = Number(values.scale);
  if (!(scale > 0) || positionals.some((name) => !Object.hasOwn(CASES, name))) {
    throw new Stop(`npm run load -- [--scale N] [--no-build] [case...]; the cases: ${Object.keys(CASES).join(', ')}`);
  }
  return { chosen: positionals.length > 0 ? positionals : Object.keys(CASES), scale, built: values['no-build'] };
}

function firstServer(env) {
  return (env.DATA_SYNC_TEST_POSTGRES ?? process.env.DATA_SYNC_TEST_POSTGRES).split(' ')[0];
}

async function tryAll(chosen, scale, server) {
  const faults = [];
  for (const name of chosen) {
    const count = Math.max(2, Math.round(CASES[name] * scale));
    const folder = mkdtempSync(join(tmpdir(), 'data-sync-load-'));
    try {
      const found = await step(`${name}: ${count}`, () =>
        inDatabase(server, (url) =>
          name === 'endings' ? endings(url, count, folder) : inProcess(name, url, count, folder),
        ),
      );
      faults.push(...found.map((fault) => `${name}: ${fault}`));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  for (const fault of faults) process.stdout.write(`FAULT: ${fault}\n`);
  if (faults.length === 0) process.stdout.write('\nNothing failed, nothing differed, nothing grew\n');
  return faults.length === 0 ? 0 : 1;
}

/** Runs a case in a process of its own, which says its figures and its faults. */
async function inProcess(name, url, count, folder) {
  const script = join(root, 'scripts', 'load', 'case.mjs');
  const args = ['--expose-gc', script, name, url, String(count), folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  if (ended !== 0) return [`its process ended by ${ended}`];
  const { figures, faults } = JSON.parse(said);
  process.stdout.write(`${figures.join('\n')}\n`);
  return faults;
}

/** Lets `work` have a database of its own. */
async function inDatabase(server, work) {
  const { Client } = require('pg');
  const name = `load_${randomBytes(6).toString('hex')}`;
  const client = new Client({ connectionString: server });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  try {
    return await work(new URL(name, server).href);
  } finally {
    await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await client.end();
  }
}
