import { existsSync, readFileSync } from 'node:fs';
import type { Client } from 'pg';
import { type DataSyncError, type DataSyncOptions, DataSyncPlugin } from '../../index.js';
import { postgresServers, TestDatabase } from '../support/postgres.js';
import { Recorder } from '../support/recorder.js';
import { ReplicaFolder, read } from '../support/replica.js';

/** A plugin, and everything it told. */
export interface Sync {
  plugin: DataSyncPlugin;
  told: Recorder;
}

/** One test's own source database and target file. */
export class World {
  #database?: TestDatabase;
  #folder?: ReplicaFolder;
  #path?: string;
  #syncs: Sync[] = [];
  #stderr?: jest.SpiedFunction<typeof process.stderr.write>;

  constructor(readonly server: string) {}

  get database(): TestDatabase {
    if (!this.#database) throw new Error('The database is there only while a test runs');
    return this.#database;
  }

  get folder(): ReplicaFolder {
    if (!this.#folder) throw new Error('The folder is there only while a test runs');
    return this.#folder;
  }

  /** The target file that plugins of this world write to unless told otherwise. */
  get path(): string {
    this.#path ??= this.folder.fresh();
    return this.#path;
  }

  async begin(): Promise<void> {
    this.#folder = new ReplicaFolder();
    this.#database = await TestDatabase.create(this.server);
    // Log lines go to the terminal otherwise.
    this.#stderr = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  }

  /** Ends everything, and makes sure that the password is in nothing that was told or kept. */
  async end(): Promise<void> {
    const secret = this.database.source.password as string;
    const syncs = this.#syncs.splice(0);
    await Promise.all(syncs.map(({ plugin }) => plugin.stop()));
    const told = syncs.map((sync) => sync.told.text).join('') + this.stderr;
    const kept = this.#path && existsSync(this.#path) ? readFileSync(this.#path) : Buffer.alloc(0);
    this.#stderr?.mockRestore();
    this.#path = undefined;
    await this.database.drop();
    this.folder.remove();
    expect(told.includes(secret)).toBe(false);
    expect(kept.includes(secret)).toBe(false);
  }

  /** What was written to stderr so far. */
  get stderr(): string {
    return this.#stderr?.mock.calls.map(([text]) => text).join('') ?? '';
  }

  /** Options that reach this world, with these on top. */
  options(options: DataSyncOptions = {}): DataSyncOptions {
    const target = options.target ? {} : { database: this.path };
    return { source: this.database.source, ...target, retry: { attempts: 2, base_ms: 1 }, ...options };
  }

  /** A plugin that is stopped at the test's end. */
  sync(options: DataSyncOptions = {}): Sync {
    const plugin = new DataSyncPlugin(this.options(options));
    const sync = { plugin, told: new Recorder(plugin) };
    this.#syncs.push(sync);
    return sync;
  }

  /** Runs once, as a process that starts, syncs and ends. */
  async run(options: DataSyncOptions = {}) {
    const { plugin, told } = this.sync(options);
    const stats = await plugin.triggerSync();
    await plugin.stop();
    return { stats, told };
  }

  /** The same for a run that is to fail. */
  async fail(options: DataSyncOptions = {}) {
    const { plugin, told } = this.sync(options);
    const error = await rejection(plugin.triggerSync());
    await plugin.stop();
    return { error, told };
  }

  query<Row extends Record<string, unknown>>(sql: string): Promise<Row[]> {
    return this.database.query<Row>(sql);
  }

  /** Creates `items` with `count` rows, the highest id with the latest `updated_at`, all of them long ago. */
  async items(count: number, table = 'items'): Promise<void> {
    await this.query(
      `CREATE TABLE ${table} (id int PRIMARY KEY, name text NOT NULL, updated_at timestamptz);
       INSERT INTO ${table} SELECT i, 'item ' || i || repeat('.', 200), '2026-01-01Z'::timestamptz + i * interval '1 s'
       FROM generate_series(1, ${count}) i; ANALYZE ${table}`,
    );
  }

  /** Rows of the target. */
  rows<Row>(sql: string, path = this.path): Row[] {
    return read<Row>(path, sql);
  }

  /** One value of the target. */
  value(sql: string, path = this.path): unknown {
    return Object.values(this.rows<Record<string, unknown>>(sql, path)[0] ?? {})[0];
  }

  count(table: string, path = this.path): number {
    return Number(this.value(`SELECT count(*) FROM "${table}"`, path));
  }

  /** Compares a table with its replica, cell by cell. */
  async expectSame(table: string, { target = table, path = this.path } = {}): Promise<void> {
    const columns = await this.database.query<{ name: string; type: string }>(
      `SELECT column_name AS name, data_type AS type FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position`,
      [table],
    );
    const source = columns.map(({ name, type }) =>
      type === 'timestamp with time zone'
        ? `to_char("${name}" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "${name}"`
        : `"${name}"::text`,
    );
    const replica = columns.map(({ name }) => `CAST("${name}" AS TEXT) AS "${name}"`);
    const there = this.rows(`SELECT ${replica.join(', ')} FROM "${target}"`, path);
    const here = await this.query(`SELECT ${source.join(', ')} FROM "${table}"`);
    const sorted = (rows: unknown[]) => rows.map((row) => JSON.stringify(row)).sort();
    expect(sorted(there)).toEqual(sorted(here));
    expect(this.value('PRAGMA integrity_check', path)).toBe('ok');
  }
}

/** Defines tests once for each server, with a world for each test. */
export function onEveryServer(define: (world: World) => void): void {
  const servers = postgresServers().map((url, index) => ({ number: index + 1, url }));
  describe.each(servers)('on server $number', ({ url }) => {
    const world = new World(url);
    beforeEach(() => world.begin());
    afterEach(() => world.end());
    define(world);
  });
}

/**
 * Holds the source in the middle of a scan: rows that `filter` names are not sent before the gate is opened.
 *
 * The filter is for the option `where`, and for tables that are read in key order.
 */
export class Gate {
  private constructor(
    private readonly world: World,
    private readonly keeper: Client,
  ) {}

  static async shut(world: World): Promise<Gate> {
    const keeper = await world.database.connect();
    // Its connection is cut when the database is dropped.
    keeper.on('error', () => {});
    await keeper.query('SELECT pg_advisory_lock(1)');
    return new Gate(world, keeper);
  }

  /** True of every row, but known for those that `condition` names only when the gate is open. */
  static filter(condition: string): string {
    return `CASE WHEN ${condition} THEN pg_advisory_xact_lock_shared(1) IS NOT NULL ELSE true END`;
  }

  /** Waits until a scan has come to the gate. */
  async reached(): Promise<void> {
    const held =
      "SELECT 1 AS held FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'";
    await until(async () => (await this.world.query(held)).length > 0);
  }

  async open(): Promise<void> {
    await this.keeper.end();
  }
}

/** Waits until something is so that nothing tells of. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What `promise` rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<DataSyncError> {
  return promise.then(
    () => Promise.reject(new Error('It resolved')),
    (error) => error,
  );
}
