/** Compares a copy with its source, cell by cell. */

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { Stop } from '../scripts/workspace.mjs';

const require = createRequire(import.meta.url);

const CHUNK = 1000;

const spell = (row) => row.map((cell) => (cell === null ? '\0' : cell)).join('\x1f');

/** A digest for each {@link CHUNK} of rows. */
class Digests {
  list = [];
  count = 0;
  #rows = [];

  add(row) {
    this.count++;
    this.#rows.push(spell(row));
    if (this.#rows.length === CHUNK) this.end();
  }

  end() {
    if (this.#rows.length > 0) this.list.push(createHash('sha1').update(this.#rows.join('\n')).digest('hex'));
    this.#rows = [];
    return this;
  }
}

/** The digests of what a copy in `form` must hold now. */
export async function expected(source, form) {
  const digests = new Digests();
  for await (const rows of source.read(form)) {
    for (const row of rows) digests.add(row);
  }
  return digests.end();
}

/** Refuses a copy that isn't what `want`, from {@link expected}, says. */
export function checkCopy(file, source, form, want) {
  const Database = require('better-sqlite3');
  const db = new Database(file, { readonly: true });
  try {
    const columns = Object.entries(source.forms[form]);
    const odd = columns.map(
      ([name, [, ...storage]]) => `typeof(${name}) NOT IN (${storage.map((one) => `'${one}'`).join(', ')})`,
    );
    const wrong = db.prepare(`SELECT count(*) FROM events WHERE ${odd.join(' OR ')}`);
    if (wrong.pluck().get() > 0) throw new Stop(`${file}: some values have another storage class than they must have`);
    const got = new Digests();
    for (const row of db
      .prepare(`SELECT ${columns.map(([name]) => name)} FROM events ORDER BY ${source.key}`)
      .raw()
      .iterate()) {
      got.add(row);
    }
    got.end();
    if (got.count !== want.count) throw new Stop(`${file} has ${got.count} rows, the source ${want.count}`);
    const differs = want.list.findIndex((digest, index) => digest !== got.list[index]);
    if (differs >= 0) throw new Stop(`${file} differs from the source in rows ${differs * CHUNK + 1} and following`);
  } finally {
    db.close();
  }
}
