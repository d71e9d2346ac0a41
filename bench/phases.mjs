/** What is measured: full copies, and what comes after them. Every copy is checked. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stop } from '../scripts/workspace.mjs';
import { checkCopy, expected } from './check.mjs';
import { findings } from './findings.mjs';
import { measure, Session } from './measure.mjs';
import { CHANGED } from './source.mjs';

/** Removes a copy with all that belongs to it. */
function remove(file) {
  for (const suffix of ['', '-wal', '-shm', '-journal', '-data-sync.lock']) rmSync(file + suffix, { force: true });
}

/**
 * Loads the whole table with every peer in turn, `rounds` times, and checks each copy.
 *
 * @returns {Promise<{ peer: object, runs: { wall: number, cpu: number, memory?: number }[], copy?: string }[]>}
 */
export async function measureLoads(source, peers, rounds, folder) {
  const wanted = {};
  const results = peers.map((peer) => ({ peer, runs: [] }));
  const fileOf = (name) => join(folder, `${name}.sqlite`);
  for (let round = 0; round < rounds; round++) {
    for (const result of results) {
      const { peer, runs } = result;
      if (peer.slow && round > 0) continue;
      const file = fileOf(peer.name);
      remove(file);
      const run = await measure(peer.load(source, file, peer.from && fileOf(peer.from)));
      runs.push(run);
      process.stdout.write(`  round ${round + 1}: ${peer.title}: ${run.wall.toFixed(2)} s\n`);
      if (peer.form) {
        wanted[peer.form] ??= await expected(source, peer.form);
        checkCopy(file, source, peer.form, wanted[peer.form]);
        result.copy = 'right';
      } else if (peer.foreign) {
        result.copy = await findings(file, source);
      }
      if (!peers.some(({ from }) => from === peer.name)) remove(file);
    }
    for (const { name } of peers) remove(fileOf(name));
  }
  return results;
}

/** Lets those that can stay sync changes, then nothing, `syncs` times each. Gives their copies, as `file`, with the figures. */
export async function measureSyncs(source, peers, syncs, folder) {
  const sessions = [];
  for (const peer of peers) {
    if (!peer.stay) continue;
    const file = join(folder, `${peer.name}.sqlite`);
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
  for (const { session } of sessions) await session.end();
  await checkAll(source, sessions);
  return sessions;
}

/** Lets those that can go on with a copy of theirs do the same, each time in a process of its own. */
export async function measureWhole(source, copies, syncs) {
  const results = copies.filter(({ peer }) => peer.again?.(source)).map((copy) => ({ ...copy, changed: [], idle: [] }));
  for (let round = 1; round <= syncs; round++) {
    await source.change(syncs + round);
    for (const { peer, file, changed, idle } of results) {
      changed.push(await measure(peer.load(source, file)));
      idle.push(await measure(peer.load(source, file)));
    }
  }
  await checkAll(source, results);
  return results;
}

/** Deletes rows of the source, and measures what it takes to notice. */
export async function measureReconcile(source, copies, rounds) {
  const results = copies.filter(({ peer }) => peer.reconcile).map((copy) => ({ ...copy, runs: [] }));
  for (let round = 0; round < rounds; round++) {
    await source.remove(round);
    for (const { peer, file, runs } of results) runs.push(await measure(peer.reconcile(source, file)));
  }
  await checkAll(source, results);
  return results;
}

async function checkAll(source, copies) {
  for (const { peer, file } of copies) checkCopy(file, source, peer.form, await expected(source, peer.form));
}
