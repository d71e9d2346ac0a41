/**
 * Those who copy. Each is a module in bench/peers with
 *
 * - `title`, and `version(source)`
 * - `load(source, file)`, what {@link measure} is to run for a copy in `file`
 * - `form`, what the copy must look like, a name among the source's forms; or `foreign: true` for a tool of others, which
 *   only runs where it is asked for, and whose copy may be wrong: that is told
 *
 * and, where that holds, `sources` (the names of those it can read, when not all), `missing()` (why it can't run here),
 * `prepare()` (installs it; throws when that fails), `slow: true` (one round is enough), `stay(source, file)` (the arguments
 * of a program for a {@link Session}), `again(source)` (whether a second `load` into the same file only syncs what is new),
 * `reconcile(source, file)` (such a run that also finds what was deleted), and `floor: true` (nobody can be faster; with
 * `from`, the name of another peer, it is given that one's copy of the same round as a third argument).
 */

import { readdirSync } from 'node:fs';
import { Stop } from '../scripts/workspace.mjs';

const FOLDER = new URL('peers/', import.meta.url);

/** The peers of the names in `only` (`all`: all of them) that can copy this source on this machine, ready to run. */
export async function findPeers(only, source) {
  const names = readdirSync(FOLDER).map((file) => file.replace(/\.mjs$/, ''));
  const unknown = only?.find((name) => name !== 'all' && !names.includes(name));
  if (unknown) throw new Stop(`There is no peer '${unknown}'; there are all, ${names.join(', ')}`);
  const peers = [];
  for (const name of names) {
    const { default: peer } = await import(new URL(`${name}.mjs`, FOLDER));
    const wanted = only ? only.includes(name) || only.includes('all') : !peer.foreign;
    if (!wanted || (peer.sources && !peer.sources.includes(source))) continue;
    const reason = peer.missing?.() ?? (await failure(peer));
    if (reason) process.stdout.write(`${peer.title} is left out: ${reason}\n`);
    else peers.push({ name, ...peer });
  }
  const withCopy = peers.filter(({ from }) => !from || peers.some(({ name }) => name === from));
  return [...withCopy.filter(({ from }) => !from), ...withCopy.filter(({ from }) => from)];
}

async function failure(peer) {
  try {
    await peer.prepare?.();
    return undefined;
  } catch (error) {
    if (error instanceof Stop) return error.message;
    throw error;
  }
}
