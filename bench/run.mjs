/**
 * Measures this package beside others: `node bench/run.mjs [--source NAME] [--rows N] [--rounds N] [--syncs N] [--peers NAME,NAME]`.
 *
 * Every peer is a file in bench/peers, and every source one in bench/sources; see the README there is beside this file for what is measured.
 */

import { mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { cpus, platform, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from '../scripts/build.mjs';
import { ensurePackages, entry, root, Stop } from '../scripts/workspace.mjs';
import { checkCopy, expected } from './check.mjs';
import { measure, Session } from './measure.mjs';
import { CHANGED, sourceNamed, startSource } from './source.mjs';

const WORK = join(root, 'bench', '.work');
const PEERS = join(root, 'bench', 'peers');
/** What every other peer is compared with. */
const REFERENCE = 'by-hand';

const median = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

function options() {
  const { values } = parseArgs({
    options: {
      source: { type: 'string', default: 'postgresql' },
      rows: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      syncs: { type: 'string', default: '5' },
      peers: { type: 'string' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const number = (name, least) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < least) throw new Stop(`--${name} takes a whole number from ${least} on`);
    return value;
  };
  return {
    name: values.source,
    rows: values.rows === undefined ? undefined : number('rows', CHANGED),
    rounds: number('rounds', 1),
    syncs: number('syncs', 0),
    only: values.peers?.split(','),
    builds: !values['no-build'],
  };
}

async function findPeers(only) {
  const names = readdirSync(PEERS).map((file) => file.replace(/\.mjs$/, ''));
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown) throw new Stop(`There is no peer '${unknown}'; there are ${names.join(', ')}`);
  const peers = [];
  for (const name of names) {
    if (only && !only.includes(name)) continue;
    const peer = (await import(join(PEERS, `${name}.mjs`))).default;
    const missing = peer.missing?.();
    if (missing) process.stdout.write(`${peer.title} is left out: ${missing}\n`);
    else peers.push({ name, ...peer });
  }
  return peers;
}

/** Loads the whole table with every peer in turn, `rounds` times, and checks each copy. */
async function measureLoads(source, peers, rounds) {
  const wanted = {};
  const results = new Map(peers.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      const file = join(WORK, `${peer.name}.sqlite`);
      remove(file);
      const result = await measure(peer.load(source, file));
      results.get(peer.name).push(result);
      if (peer.form) {
        wanted[peer.form] ??= await expected(source, peer.form);
        checkCopy(file, source, peer.form, wanted[peer.form]);
      }
      remove(file);
      process.stdout.write(`  round ${round + 1}: ${peer.title}: ${result.wall.toFixed(2)} s\n`);
    }
  }
  return results;
}

/** Lets those that can stay sync changes, then nothing, `syncs` times each, and checks what came of it. */
async function measureSyncs(source, peers, syncs) {
  const sessions = [];
  for (const peer of peers) {
    if (!peer.stay) continue;
    const file = join(WORK, `${peer.name}.sqlite`);
    remove(file);
    sessions.push({
      peer,
      file,
      session: await new Session(peer.stay(source, file)).ready(),
      changed: [],
      idle: [],
    });
  }
  // The first round warms up; it isn't counted.
  for (let round = 0; round <= syncs; round++) {
    await source.change(round);
    for (const { peer, session, changed, idle } of sessions) {
      const found = await session.sync();
      if (found.rows !== 2 * CHANGED) {
        throw new Stop(`${peer.title} wrote ${found.rows} rows where ${2 * CHANGED} had changed`);
      }
      const nothing = await session.sync();
      if (nothing.rows !== 0) throw new Stop(`${peer.title} wrote ${nothing.rows} rows where none had changed`);
      if (round > 0) {
        changed.push(found);
        idle.push(nothing);
      }
    }
  }
  for (const { peer, file, session } of sessions) {
    await session.end();
    checkCopy(file, source, peer.form, await expected(source, peer.form));
    remove(file);
  }
  return sessions;
}

function remove(file) {
  for (const suffix of ['', '-wal', '-shm', '-data-sync.lock']) rmSync(file + suffix, { force: true });
}

function print(heading, lines) {
  const rows = [['', ...heading], ...lines];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  process.stdout.write('\n');
  for (const [index, row] of rows.entries()) {
    const cells = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
    if (index === 0) {
      process.stdout.write(
        `|${widths.map((width, column) => '-'.repeat(width + 1) + (column ? ':' : '-')).join('|')}|\n`,
      );
    }
  }
}

const ratio = (value, reference) => (reference === undefined ? '' : (value / reference).toFixed(2));

function printLoads(peers, results) {
  const medians = new Map(
    [...results].map(([name, runs]) => [
      name,
      Object.fromEntries(['wall', 'cpu', 'memory'].map((what) => [what, median(runs.map((run) => run[what]))])),
    ]),
  );
  const reference = medians.get(REFERENCE);
  print(
    ['wall s', 'of it', 'CPU s', 'of it', 'peak MB', 'wall s of each round'],
    peers.map(({ name, title }) => {
      const { wall, cpu, memory } = medians.get(name);
      return [
        title,
        wall.toFixed(2),
        ratio(wall, reference?.wall),
        cpu.toFixed(2),
        ratio(cpu, reference?.cpu),
        (memory / 1e6).toFixed(0),
        results
          .get(name)
          .map((run) => run.wall.toFixed(2))
          .join(' '),
      ];
    }),
  );
}

function printSyncs(sessions) {
  const figures = ({ changed, idle }) =>
    [changed, idle].flatMap((runs) => ['wall', 'cpu'].map((what) => median(runs.map((run) => run[what])) * 1000));
  const reference = sessions.find(({ peer }) => peer.name === REFERENCE);
  const base = reference ? figures(reference) : [];
  print(
    ['changes: ms', 'of it', 'CPU ms', 'of it', 'nothing: ms', 'of it', 'CPU ms', 'of it'],
    sessions.map((session) => [
      session.peer.title,
      ...figures(session).flatMap((value, index) => [value.toFixed(1), ratio(value, base[index])]),
    ]),
  );
}

await entry(async () => {
  const { name, rows: given, rounds, syncs, only, builds } = options();
  await ensurePackages();
  const module = await sourceNamed(name);
  const rows = given ?? module.rows;
  const peers = await findPeers(only);
  if (builds && peers.some(({ name }) => name === 'ours')) await build(['--release']);
  mkdirSync(WORK, { recursive: true });
  const { bavail, bsize } = statfsSync(WORK);
  // The table, its index, its log and the largest copy.
  if (bavail * bsize < rows * 2500) throw new Stop(`${WORK} needs ${Math.ceil((rows * 2500) / 1e9)} GB of free space`);
  process.stdout.write(`Filling a table with ${rows} rows\n`);
  const source = await startSource(module, rows);
  try {
    const machine = `${cpus().length} × ${cpus()[0].model}, ${platform()} ${release()}`;
    process.stdout.write(`${source.version}, Node.js ${process.version}, ${machine}\n`);
    const loads = await measureLoads(source, peers, rounds);
    process.stdout.write(
      `\nThe whole table, ${rows} rows into a new file, medians of ${rounds}; "of it" is of JS by hand:\n`,
    );
    printLoads(peers, loads);
    if (syncs > 0) {
      const sessions = await measureSyncs(source, peers, syncs);
      process.stdout.write(
        `\n${CHANGED} updates and ${CHANGED} inserts, then a run that finds nothing, in a process that stays, medians of ${syncs}:\n`,
      );
      printSyncs(sessions);
    }
  } finally {
    await source.stop();
    rmSync(WORK, { recursive: true, force: true });
  }
});
