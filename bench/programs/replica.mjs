/** The SQLite side of what a good programmer writes in an afternoon: a table, and upserts in one transaction for each batch. */

import Database from 'better-sqlite3';

/** How many rows go into a transaction. */
export const BATCH = 1000;

/** Creates the table `events`, where it is missing, with the columns of the object `types`, whose first is the key. */
export function openReplica(file, types) {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  const [key, ...others] = Object.keys(types);
  const form = [`${key} ${types[key]} NOT NULL PRIMARY KEY`, ...others.map((name) => `${name} ${types[name]}`)];
  db.exec(`CREATE TABLE IF NOT EXISTS events (${form.join(', ')})`);
  db.exec('CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY, track, key)');
  const upsert = db.prepare(
    `INSERT INTO events VALUES (${form.map(() => '?').join(', ')}) ON CONFLICT (${key}) DO UPDATE SET ${others
      .map((name) => `${name} = excluded.${name}`)
      .join(', ')}`,
  );
  return {
    columns: [key, ...others],
    /** The greatest track value and its row's key, as they were kept last; undefined before that. */
    position: () => db.prepare('SELECT track, key FROM position').raw().get(),
    keep: (position) => db.prepare('INSERT OR REPLACE INTO position VALUES (1, ?, ?)').run(position),
    /** Writes arrays of values in the columns' order. */
    write: db.transaction((rows) => {
      for (const row of rows) upsert.run(row);
    }),
    close: () => db.close(),
  };
}
