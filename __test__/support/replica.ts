import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';

/** A folder for SQLite files that goes away with the tests. */
export class ReplicaFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'data-sync-test-'));
  #count = 0;

  /** The path of a file that isn't there yet. */
  fresh(): string {
    return join(this.path, `replica-${++this.#count}.sqlite`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Reads from a replica by another SQLite than the addon's own. Integers are `bigint`, so that none is rounded. */
export function read<Row>(path: string, sql: string, ...parameters: unknown[]): Row[] {
  const database = new Database(path, { readonly: true, fileMustExist: true });
  try {
    return database
      .prepare<unknown[], Row>(sql)
      .safeIntegers(true)
      .all(...parameters);
  } finally {
    database.close();
  }
}
