/** Tells what a foreign tool's copy loses: unlike ours, it may be wrong without ending the benchmark. */

import { createRequire } from 'node:module';
import { loss } from './kinds.mjs';

const require = createRequire(import.meta.url);

/**
 * Compares a copy with its source, column by column; any spelling of a value that loses nothing is right.
 *
 * @returns {Promise<string>} `right`, or what is wrong
 */
export async function findings(file, source) {
  const Database = require('better-sqlite3');
  const db = new Database(file, { readonly: true });
  try {
    const found = [];
    const columns = Object.keys(source.columns);
    const there = db.prepare("SELECT name FROM pragma_table_info('events')").pluck().all();
    if (there.length === 0) return 'no table';
    if (!hasKey(db, source.key)) found.push('no key');
    const beyond = there.filter((name) => !columns.includes(name));
    if (beyond.length > 0) found.push(`more columns: ${beyond.join(', ')}`);
    const lost = columns.filter((name) => !there.includes(name));
    if (lost.length > 0) return [...found, `lacks ${lost.join(', ')}`].join('; ');
    const rows = db.prepare('SELECT count(*) FROM events').pluck().get();
    found.push(...(rows === source.count() ? await compare(db, source) : [`${rows} rows of ${source.count()}`]));
    return found.join('; ') || 'right';
  } finally {
    db.close();
  }
}

function hasKey(db, key) {
  const unique = db
    .prepare(
      `SELECT group_concat(name) FROM pragma_table_info('events') WHERE pk > 0
       UNION ALL SELECT (SELECT group_concat(name) FROM pragma_index_info(list.name))
       FROM pragma_index_list('events') AS list WHERE "unique" AND NOT partial`,
    )
    .pluck()
    .all();
  return unique.includes(key);
}

/** The losses, each with the columns that have it. */
async function compare(db, source) {
  const [names, kinds] = [Object.keys(source.columns), Object.values(source.columns)];
  // Exactly, also where an integer is beyond what a number of JavaScript's holds.
  const copy = db.prepare(`SELECT ${names} FROM events ORDER BY ${source.key}`).raw().safeIntegers().iterate();
  const columns = new Map();
  try {
    for await (const batch of source.read('raw')) {
      for (const row of batch) {
        const cells = copy.next().value;
        for (const [at, name] of names.entries()) {
          const what = loss(kinds[at], row[at], cells[at] === null ? null : String(cells[at]));
          if (what) columns.set(what, (columns.get(what) ?? new Set()).add(name));
        }
      }
    }
  } finally {
    copy.return();
  }
  return [...columns].map(([what, having]) => `${shortened([...having])}: ${what}`);
}

const shortened = (names) =>
  names.length > 4 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
