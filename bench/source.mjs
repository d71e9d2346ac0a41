/**
 * The sources of the measurements: servers of our own with the table that is copied.
 *
 * Each is a module in bench/sources with `rows`, how many rows it measures where nobody says, `kind`, the kind of server,
 * and `connect(url)`, which gives
 *
 * - `url` of the database, and `close()`
 * - `fill(rows)`, which makes the table
 * - `key`, the column by whose order copies are compared
 * - `forms`, what a copy may look like (`ours`: as this package's documentation says; `raw`: the driver's own text), each
 *   an object from the columns' names to arrays: how the source gets the value, then the storage classes in SQLite
 * - `read(form)`, what a copy in that form must hold now: arrays of rows in the key's order, each an array of text or null
 * - `change(round)`, which updates {@link CHANGED} rows all over the table, others each round, and adds as many
 *
 * A source that foreign tools can read also gives
 *
 * - `columns`, an object from the columns' names to their kinds, which kinds.mjs knows; the key is the first
 * - `count()`, how many rows there are now
 * - `track`, the column that tells which rows are newer, or null: then there are no changes to sync
 * - `remove(round)`, which deletes about {@link CHANGED} rows all over the table, others each round
 *
 * and one with more than the mixed table has `tables`, objects with their `rows` by their names; `connect` is then given the name.
 */

import { readdirSync } from 'node:fs';
import { startServers } from '../scripts/servers.mjs';
import { Stop } from '../scripts/workspace.mjs';

/** How many rows a change updates, and how many it adds. */
export const CHANGED = 1000;

/** The module of the source `name`. */
export async function sourceNamed(name) {
  const names = readdirSync(new URL('sources', import.meta.url))
    .filter((file) => file.endsWith('.mjs'))
    .map((file) => file.replace(/\.mjs$/, ''));
  if (!names.includes(name)) throw new Stop(`There is no source '${name}'; there are ${names.join(', ')}`);
  return { name, ...(await import(`./sources/${name}.mjs`)) };
}

/** Starts the server of a source, fills its table with `rows` rows, and gives what the source's module does. */
export async function startSource({ name, kind, connect }, rows, table) {
  const { servers, stop } = await startServers({ only: [kind], all: false });
  const [{ url, version }] = servers;
  let source;
  const end = async () => {
    await source?.close();
    await stop();
  };
  try {
    source = await connect(url, table);
    await source.fill(rows);
  } catch (error) {
    await end();
    throw error;
  }
  return { name, version, ...source, stop: end };
}
