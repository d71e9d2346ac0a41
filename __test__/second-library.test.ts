/**
 * Another SQLite library in the same process. better-sqlite3 has its own copy of SQLite; when it closes a file, the whole
 * process loses its locks on it, and the -wal may be taken away under the plugin's connection. Only between runs: during
 * one, opening the file truncates memory that the plugin has mapped, which no program survives for sure.
 */

import Database from 'better-sqlite3';
import { DataSyncPlugin } from '../index.js';
import { postgresServers, TestDatabase } from './support/postgres';
import { ReplicaFolder, read } from './support/replica';

const folder = new ReplicaFolder();
let source: TestDatabase;
beforeAll(async () => {
  source = await TestDatabase.create(postgresServers()[0]);
});
afterAll(async () => {
  await source.drop();
  folder.remove();
});

/** Opens and closes the file with every right, as a program does that only wants to look. */
function openAndClose(path: string): void {
  const other = new Database(path);
  other.prepare('SELECT count(*) FROM sqlite_schema').get();
  other.close();
}

const ids = (path: string) => read<{ n: bigint }>(path, 'SELECT count(*) AS n FROM items')[0]?.n;

test('what it closes between two runs is noticed', async () => {
  await source.query('CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz DEFAULT now())');
  const database = folder.fresh();
  const plugin = new DataSyncPlugin({ source: source.source, database, log_level: 'error' });
  for (let round = 1; round <= 5; round++) {
    await source.query(`INSERT INTO items SELECT i FROM generate_series(${round * 100 - 99}, ${round * 100}) i`);
    const stats = await plugin.triggerSync();
    expect(stats.rowsInserted).toBe(100);
    openAndClose(database);
    expect(ids(database)).toBe(BigInt(round * 100));
  }
  await plugin.stop();
  expect(ids(database)).toBe(500n);
});
