/** Compares a copy with its source, cell by cell. */

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { Stop } from '../scripts/workspace.mjs';

const require = createRequire(import.meta.url);

const CHUNK = 1000;

const TIME = (name) => `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Each column: what is to be found in the copy, as SQL over the source, and its storage class in SQLite. */
const OURS = {
  id: ['id', 'integer'],
  quantity: ['quantity', 'integer'],
  title: ['title', 'text'],
  body: ['body', 'text'],
  price: ['price::float8', 'real'],
  active: ['active::integer', 'integer'],
  details: ['details', 'text'],
  reference: ['reference', 'text'],
  note: ['note', 'text'],
  created_at: [TIME('created_at'), 'text'],
  updated_at: [TIME('updated_at'), 'text'],
};

/** What a copy may look like. */
export const FORMS = {
  /** As this package's documentation says. */
  ours: OURS,
  /** PostgreSQL's own text, as far as SQLite doesn't make a number of it. */
  raw: {
    ...OURS,
    active: ['active', 'text'],
    created_at: ['created_at', 'text'],
    updated_at: ['updated_at', 'text'],
  },
};

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
  const { Client } = require('pg');
  const Cursor = require('pg-cursor');
  const client = new Client({ connectionString: source.url });
  await client.connect();
  try {
    await client.query("SET TimeZone = 'UTC'");
    const select = Object.values(FORMS[form]).map(([sql]) => sql);
    const types = { getTypeParser: () => (text) => text };
    const cursor = client.query(
      new Cursor(`SELECT ${select} FROM events ORDER BY id`, [], { rowMode: 'array', types }),
    );
    const digests = new Digests();
    for (;;) {
      const rows = await cursor.read(10 * CHUNK);
      if (rows.length === 0) return digests.end();
      for (const row of rows) digests.add(row);
    }
  } finally {
    await client.end();
  }
}

/** Refuses a copy that isn't what `want`, from {@link expected}, says. */
export function checkCopy(file, form, want) {
  const Database = require('better-sqlite3');
  const db = new Database(file, { readonly: true });
  try {
    const columns = Object.entries(FORMS[form]);
    const odd = columns.map(([name, [, storage]]) => `typeof(${name}) <> '${storage}'`).join(' OR ');
    const wrong = db.prepare(
      `SELECT count(*) FROM events WHERE ${odd.replace("typeof(note) <> 'text'", "typeof(note) NOT IN ('text', 'null')")}`,
    );
    if (wrong.pluck().get() > 0) throw new Stop(`${file}: some values have another storage class than they must have`);
    const got = new Digests();
    for (const row of db
      .prepare(`SELECT ${columns.map(([name]) => name)} FROM events ORDER BY id`)
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
