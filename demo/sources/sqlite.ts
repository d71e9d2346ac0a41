import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { DemoKind } from './database.js';
import { expected, SqliteFamilyDatabase, type Way } from './sqlite-family.js';

/** Where the file is; the plugin has no variable for it, only the option `source.path`. */
const PATH = 'DEMO_SQLITE_PATH';

class FileWay implements Way {
  constructor(private readonly path: string) {}

  async run(sql: string): Promise<void> {
    this.open((database) => database.exec(sql));
  }

  async rows(sql: string): Promise<unknown[][]> {
    return this.open((database) => database.prepare<[], unknown[]>(sql).raw().all());
  }

  /** Closed at once: while the addon reads the file, no other SQLite of this process may have it open. */
  private open<Result>(work: (database: Database.Database) => Result): Result {
    const database = new Database(this.path, { timeout: 20_000 });
    try {
      database.pragma('journal_mode = wal');
      return work(database);
    } finally {
      database.close();
    }
  }
}

const pathOf = (variables: Record<string, string | undefined>) => {
  const path = variables[PATH];
  if (!path) throw new Error('The demo has no file');
  return path;
};

export const sqlite: DemoKind = {
  async start() {
    const folder = mkdtempSync(join(tmpdir(), 'data-sync-source-'));
    const stop = async () => rmSync(folder, { recursive: true, force: true });
    return { url: join(folder, 'source.sqlite'), about: 'a SQLite file, made for the demo', stop };
  },

  prepare: async (path) => ({ [PATH]: path }),

  connect: async (variables) => new SqliteFamilyDatabase(new FileWay(pathOf(variables))),

  source: (variables) => ({ type: 'sqlite', path: pathOf(variables) }),

  place: pathOf,

  expected,
};
