/**
 * Measures this package beside others: `node bench/run.mjs [--source NAME] [--table NAME] [--rows N] [--rounds N]
 * [--syncs N] [--whole] [--peers NAME,NAME]`.
 *
 * Every peer is a file in bench/peers, and every source one in bench/sources; see the README there is beside this file for what is measured.
 */

import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { cpus, platform, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from '../scripts/build.mjs';
import { ensurePackages, entry, root, Stop } from '../scripts/workspace.mjs';
import { writeFigures } from './figures.mjs';
import { findPeers } from './peers.mjs';
import { measureLoads, measureReconcile, measureSyncs, measureWhole } from './phases.mjs';
import { keep, loadFigures, loadLines, reconcileFigures, reconcileLines, syncFigures, syncLines } from './report.mjs';
import { CHANGED, sourceNamed, startSource } from './source.mjs';
import { print } from './table.mjs';

const WORK = join(root, 'bench', '.work');

function options() {
  const { values } = parseArgs({
    options: {
      source: { type: 'string', default: 'postgresql' },
      table: { type: 'string', default: 'mixed' },
      rows: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      syncs: { type: 'string', default: '5' },
      whole: { type: 'boolean', default: false },
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
    table: values.table,
    rows: values.rows === undefined ? undefined : number('rows', CHANGED),
    rounds: number('rounds', 1),
    syncs: number('syncs', values.whole ? 1 : 0),
    whole: values.whole,
    only: values.peers?.split(','),
    builds: !values['no-build'],
  };
}

/** How many rows of the table are measured where nobody says. */
function usualRows({ name, rows, tables = { mixed: { rows } } }, table) {
  if (!Object.hasOwn(tables, table)) {
    throw new Stop(`'${name}' has no table '${table}'; it has ${Object.keys(tables).join(', ')}`);
  }
  return tables[table].rows;
}

const say = (text) => process.stdout.write(`\n${text}:\n\n`);

/** What comes after the full copies: the figures of each kind that is measured. */
async function afterLoads(source, peers, loads, { syncs, whole, rounds }) {
  if (syncs === 0) return {};
  if (source.track === null) {
    process.stdout.write('\nNothing tells which rows of this table are newer: no syncs are measured.\n');
    return {};
  }
  const changes = `${CHANGED} updates and ${CHANGED} inserts, then a run that finds nothing`;
  const copies = await measureSyncs(source, peers, syncs, WORK);
  const staying = syncFigures(copies);
  say(`${changes}, in a process that stays, medians of ${syncs}`);
  print(...syncLines(staying));
  if (!whole) return { staying };

  const processes = syncFigures(await measureWhole(source, copies, syncs));
  say(`${changes}, each a process from start to exit, medians of ${syncs}`);
  print(...syncLines(processes));
  if (!source.remove) return { staying, processes };

  const reconciles = reconcileFigures(await measureReconcile(source, copies, rounds), loads);
  if (reconciles.length > 0) {
    say(`About ${CHANGED} rows deleted at the source, and a run that finds them, a process, medians of ${rounds}`);
    print(...reconcileLines(reconciles));
  }
  return { staying, processes, reconciles };
}

await entry(async () => {
  const { name, table, rows: given, only, builds, ...counts } = options();
  await ensurePackages();
  const module = await sourceNamed(name);
  const rows = given ?? usualRows(module, table);
  const found = await findPeers(only, name);
  if (builds && found.some(({ name }) => name === 'ours')) await build(['--release']);
  mkdirSync(WORK, { recursive: true });
  const { bavail, bsize } = statfsSync(WORK);
  // The table, its index, its log and two copies.
  const needed = rows * (table === 'wide' ? 12_000 : 2500);
  if (bavail * bsize < needed) throw new Stop(`${WORK} needs ${Math.ceil(needed / 1e9)} GB of free space`);
  process.stdout.write(`Filling a table with ${rows} rows\n`);
  const source = await startSource(module, rows, table);
  try {
    const peers = await Promise.all(found.map(async (peer) => ({ ...peer, is: await peer.version?.(source) })));
    const machine = `${cpus().length} × ${cpus()[0].model}, ${platform()} ${release()}`;
    process.stdout.write(`${source.version}, Node.js ${process.version}, ${machine}\n`);
    for (const { title, is } of peers) if (is) process.stdout.write(`  ${title}: ${is}\n`);
    const loads = loadFigures(await measureLoads(source, peers, counts.rounds, WORK));
    const floor = peers.filter((peer) => peer.floor).length > 1 ? 'the slower limit' : 'the one limit there is';
    say(
      `The whole table, ${rows} rows into a new file, medians of ${counts.rounds}; "of it" is of JS by hand, the floor is ${floor}`,
    );
    print(...loadLines(loads));
    keep({
      date: new Date().toISOString().slice(0, 10),
      source: { name, version: source.version },
      table,
      rows,
      columns: source.columns && Object.keys(source.columns).length,
      machine,
      node: process.version,
      ...counts,
      loads,
      ...(await afterLoads(source, peers, loads, counts)),
    });
    writeFigures();
  } finally {
    await source.stop();
    rmSync(WORK, { recursive: true, force: true });
  }
});
