/**
 * Lets applications write at a source while a replica follows: `npm run soak -- [--minutes N] [--source NAME] [--rate N] [--no-build]`, an hour of 500
 * operations a second on PostgreSQL with a run every second unless told otherwise.
 *
 * At the end the replica must equal the source cell by cell, by a comparison of this program's own and by `verify()`; no run may have failed; and memory,
 * handles and threads of the replica's process, and the log beside its file, must not have grown after the first quarter.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { startServers } from './servers.mjs';
import { TABLES } from './soak/history.mjs';
import { Program } from './soak/program.mjs';
import { SOURCES } from './soak/sources.mjs';
import { ensurePackages, entry, Stop } from './workspace.mjs';

const require = createRequire(import.meta.url);

/** Seconds that each run looks back: the longest transaction of the writer takes three. */
const LOOKBACK = 10;
/** How much more than before a later part of the soak may hold: that share, and what an allocator may keep for itself. */
const [MORE, KEPT] = [0.1, 16e6];
/** Operations a second, where the source takes as many. */
const RATE = 500;
/** Rows that are compared at a time. */
const PAGE = 20_000;

await entry(async () => {
  const { minutes, source: name, rate, built } = wishes();
  await ensurePackages();
  if (!built) await build(['--release']);
  const folder = mkdtempSync(join(tmpdir(), 'data-sync-soak-'));
  const server = name === 'sqlite' ? null : await startServers({ only: [name], all: false });
  try {
    const url = await addressOf(name, server, folder);
    process.stdout.write(
      `${server?.servers[0].version ?? 'SQLite file'}, ${rate} operations a second, ${minutes} min\n`,
    );
    return await soak({ name, url, rate, minutes, file: join(folder, 'replica.sqlite') });
  } finally {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

function wishes() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      source: { type: 'string', default: 'postgresql' },
      rate: { type: 'string' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const [minutes, rate] = [Number(values.minutes), Number(values.rate ?? SOURCES[values.source]?.rate ?? RATE)];
  if (!Object.hasOwn(SOURCES, values.source) || !(minutes > 0) || !(rate > 0)) {
    throw new Stop(
      `npm run soak -- [--minutes N] [--source NAME] [--rate N] [--no-build]; the sources: ${Object.keys(SOURCES).join(', ')}`,
    );
  }
  return { minutes, source: values.source, rate, built: values['no-build'] };
}

/** The address of a database of this soak's own. */
async function addressOf(name, server, folder) {
  if (name === 'sqlite') return join(folder, 'source.sqlite');
  const { url } = server.servers[0];
  if (name === 'mysql') {
    const client = await require('mysql2/promise').createConnection(url);
    await client.query('CREATE DATABASE soak');
    await client.end();
  } else if (name === 'postgresql') {
    const { Client } = require('pg');
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('CREATE DATABASE soak');
    await client.end();
  }
  return new URL('soak', url).href;
}

async function soak({ name, url, rate, minutes, file }) {
  const writer = new Program('writer.mjs', [name, url, String(rate)]);
  await writer.line();
  const options = {
    source: sourceOf(name, url),
    database: file,
    tables: Object.entries(TABLES).map(([table, { deletes }]) => ({
      name: table,
      deletes,
      track_column: 'updated_at',
    })),
    sync_interval: 1 / 60,
    lookback: LOOKBACK,
    log_level: 'error',
  };
  const every = Math.max(0.25, (minutes * 60) / 400);
  const runner = new Program('runner.mjs', [JSON.stringify(options), String(every)], ['--expose-gc']);
  try {
    await runner.line();
    const samples = await watch(runner, minutes);
    writer.stop();
    const written = await writer.line();
    runner.stop();
    let end = await runner.line();
    while (!end.verified) end = await runner.line();
    return await verdict({ name, url, file, rate, samples, written, end, ended: await runner.ended });
  } finally {
    writer.kill();
    runner.kill();
  }
}

function sourceOf(name, url) {
  if (name === 'sqlite') return { type: name, path: url };
  return name === 'mongodb' ? { type: name, uri: url } : { type: name, url };
}

/** Collects what the runner tells for so long, and shows a tenth of it. */
async function watch(runner, minutes) {
  const samples = [];
  const begin = Date.now();
  let shown = 0;
  while (Date.now() - begin < minutes * 60_000) {
    const sample = await runner.line();
    samples.push(sample);
    const passed = (Date.now() - begin) / 60_000;
    if (passed >= (minutes / 10) * (shown + 1)) {
      shown += 1;
      process.stdout.write(`${passed.toFixed(1).padStart(6)} min  ${described(sample)}\n`);
    }
  }
  return samples;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function described({ memory, heap, handles, threads, log, completed, failed, rows, longest }) {
  return [
    `${completed} runs`,
    `${failed} failed`,
    `${rows} rows`,
    `longest run ${longest} ms`,
    `memory ${megabytes(memory)}`,
    `heap ${megabytes(heap)}`,
    `${handles} handles`,
    `${threads} threads`,
    `log ${megabytes(log)}`,
  ].join(', ');
}

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** What is wrong; prints it, and the figures. */
async function verdict({ name, url, file, rate, samples, written, end, ended }) {
  const faults = [];
  const expect = (good, words) => {
    if (!good) faults.push(words);
  };
  const { cells, differences } = await compared(name, url, file);
  expect(differences.length === 0, `the replica differs: ${differences.join('; ')}`);
  for (const [table, { missing, extra, different }] of Object.entries(end.verified)) {
    expect(missing + extra + different === 0, `verify() names ${missing + extra + different} rows of ${table}`);
  }
  expect(end.failed === 0, `${end.failed} runs failed, the last one by ${end.last}`);
  expect(ended === 0, `the replica's process ended by ${ended}`);
  const reached = written.operations / written.seconds / rate;
  expect(reached > 0.9, `the writer reached only ${Math.round(reached * 100)} % of its rate`);
  const quarter = Math.floor(samples.length / 4);
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)];
  for (const [what, spare] of [
    ['memory', KEPT],
    ['heap', KEPT / 4],
    ['log', KEPT / 2],
    ['handles', 1],
    ['threads', 1],
  ]) {
    const [before, after] = [early, late].map((part) => mean(part.map((sample) => sample[what])));
    const grew = `${what} grew from ${Math.round(before)} to ${Math.round(after)}`;
    expect(after <= before * (1 + MORE) + spare, grew);
    process.stdout.write(`${what}: ${Math.round(before)} in the second quarter, ${Math.round(after)} in the last\n`);
  }
  process.stdout.write(
    `${written.operations} operations in ${Math.round(written.seconds)} s, ${written.late} late commits; ${end.completed} runs, the last with verify() ${Math.round(end.lastRun)} ms; ${cells} cells compared\n`,
  );
  for (const fault of faults) process.stdout.write(`FAULT: ${fault}\n`);
  process.stdout.write(faults.length === 0 ? 'Nothing lost, nothing wrong, nothing grew\n' : '');
  return faults.length === 0 ? 0 : 1;
}

/** Compares source and replica, both in the order of their keys. */
async function compared(name, url, file) {
  const Database = require('better-sqlite3');
  const source = await SOURCES[name].connect(url);
  const replica = new Database(file, { readonly: true });
  const differences = [];
  let cells = 0;
  try {
    for (const [table, { columns }] of Object.entries(TABLES)) {
      const names = columns.map((column) => (name === 'mongodb' && column === 'id' ? '_id' : column));
      const select = [...names, 'updated_at'].map((column) => `CAST(${column} AS TEXT)`);
      const page = replica
        .prepare(`SELECT ${select} FROM ${table} WHERE ${names[0]} > ? ORDER BY ${names[0]} LIMIT ?`)
        .raw();
      let [after, more] = ['0', true];
      while (more) {
        const [there, here] = [await source.page(table, after, PAGE), page.all(BigInt(after), PAGE)];
        const at = there.findIndex((row, at) => JSON.stringify(row) !== JSON.stringify(here[at]));
        if (at >= 0 || here.length !== there.length) {
          differences.push(`${table} after key ${there[at - 1]?.[0] ?? after}`);
          break;
        }
        cells += there.length * select.length;
        more = there.length === PAGE;
        after = there.at(-1)?.[0] ?? after;
      }
    }
  } finally {
    await source.close();
    replica.close();
  }
  return { cells, differences };
}
