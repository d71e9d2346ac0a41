import { EventEmitter } from 'node:events';

/** A type that a column of the target may have. */
export type SqliteType = 'INTEGER' | 'REAL' | 'TEXT' | 'BLOB';

/** A threshold for log lines; `silent` logs nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/**
 * How the connection to a database server is protected.
 *
 * - `disable`: never encrypted
 * - `prefer`: encrypted when the server can; certificates are not checked
 * - `require`: always encrypted; certificates are checked only when `ca_cert` is given, and then without the host name
 * - `verify-full`: always encrypted, and the certificate must be valid for the host name
 */
export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-full';

/** What happens to rows of the target that left the source. `soft` keeps the row and sets `_deleted_at`. */
export type Deletes = 'none' | 'hard' | 'soft';

/** What a changed schema at the source does. */
export type SchemaDrift = 'evolve' | 'freeze' | 'fail';

/** The wish for how a table is synced. `auto` decides by the columns the table has. */
export type TableMode = 'auto' | SyncMode;

/**
 * How a table is synced.
 *
 * - `incremental`: new and changed rows are found by the track column
 * - `append`: new rows are found by the track column; rows that are there are never rewritten
 * - `full`: every run reads the whole table
 */
export type SyncMode = 'incremental' | 'append' | 'full';

/** Which part of its life a table is in; `snapshot` until its first load is complete. */
export type SyncPhase = 'snapshot' | 'incremental';

/** A database server reached by the parts of its address. */
export interface ServerParts {
  /** Name or address. A path names a Unix socket; for PostgreSQL the directory of one. */
  host: string;
  /** Default: 5432 for PostgreSQL, 3306 for MySQL. */
  port?: number | string;
  user: string;
  password: string;
  database: string;
  /** The schema of tables that are named without one. Default: `public` for PostgreSQL, the database for MySQL. */
  schema?: string;
  /** Default: `prefer`. */
  ssl?: SslMode;
  /** Path of a PEM file with certificate authorities to trust besides the public ones. */
  ca_cert?: string;
  url?: undefined;
}

/** A database server reached by a connection URL. */
export interface ServerUrl {
  /** `postgresql://user:password@host:port/database`, or `mysql://…`. */
  url: string;
  /** The schema of tables that are named without one. Default: `public` for PostgreSQL, the database for MySQL. */
  schema?: string;
  /** Default: what the URL says, else `prefer`. */
  ssl?: SslMode;
  /** Path of a PEM file with certificate authorities to trust besides the public ones. */
  ca_cert?: string;
  host?: undefined;
  port?: undefined;
  user?: undefined;
  password?: undefined;
  database?: undefined;
}

export type PostgresqlSource = { type: 'postgresql' | 'postgres' } & (ServerParts | ServerUrl);
export type MysqlSource = { type: 'mysql' | 'mariadb' } & (ServerParts | ServerUrl);

export interface MongodbSource {
  type: 'mongodb';
  /** `mongodb://…` or `mongodb+srv://…`, with the database's name. */
  uri: string;
}

/**
 * Turso, or another libSQL server.
 *
 * A refused token is the error `AUTH`; a server or database that is not there is `CONNECT`. Variables:
 * `EXTERNAL_DB_TURSO_URI` and `EXTERNAL_DB_TURSO_TOKEN`.
 *
 * @example { type: 'turso', uri: 'libsql://app-acme.turso.io', token: process.env.TURSO_TOKEN }
 */
export interface TursoSource {
  type: 'turso';
  /**
   * `libsql://…` (which means `https://…`), `https://…` or `http://…`, without credentials or a query. Names below
   * `localhost` are this machine.
   */
  uri: string;
  /** The database's token; the right to read is enough. Default: none, for servers that ask for none. */
  token?: string;
}

/**
 * Another StarbaseDB: the rows of its own database, not those of an external one it is configured with.
 *
 * A refused token is the error `AUTH`; an address where no StarbaseDB answers is `CONNECT`. Variables:
 * `EXTERNAL_DB_STARBASEDB_URI` and `EXTERNAL_DB_STARBASEDB_TOKEN`.
 *
 * @example { type: 'starbasedb', uri: 'https://starbasedb.acme.workers.dev', token: process.env.STARBASEDB_TOKEN }
 */
export interface StarbasedbSource {
  type: 'starbasedb';
  /** The address of the instance, `https://…` or `http://…`: what comes before `/query`. */
  uri: string;
  /** The token of its admin or of its client. */
  token: string;
}

/**
 * Cloudflare D1, over Cloudflare's REST interface.
 *
 * A refused key is the error `AUTH`, an unknown database `CONNECT`. When too much is asked, a run waits as long as
 * Cloudflare says; `RATE_LIMITED` is the error when that was in vain `retry.attempts` times. Variables:
 * `EXTERNAL_DB_CLOUDFLARE_API_KEY`, `EXTERNAL_DB_CLOUDFLARE_ACCOUNT_ID` and `EXTERNAL_DB_CLOUDFLARE_DATABASE_ID`.
 *
 * @example { type: 'd1', api_key: process.env.CLOUDFLARE_API_TOKEN, account_id: '0123…', database_id: '0123…' }
 */
export interface D1Source {
  type: 'd1';
  /** An API token with the right D1:Read, or the account's global key together with `email`. */
  api_key: string;
  /** The account's id. */
  account_id: string;
  /** The database's id, not its name. */
  database_id: string;
  /** The account's e-mail address; says that `api_key` is the global key. Default: none, `api_key` is a token. */
  email?: string;
  /** What comes before `/client/v4/…`, for proxies. Default: `https://api.cloudflare.com`. */
  url?: string;
}

/**
 * A SQLite file on this machine, which is opened for reading only. There are no variables for it.
 *
 * A file that is not there, or is no database, is the error `CONNECT`. While a run reads it, no other SQLite library of the
 * same process, such as better-sqlite3, may have it open.
 *
 * @example { type: 'sqlite', path: './app.sqlite' }
 */
export interface SqliteSource {
  type: 'sqlite';
  /** Path of the database file, relative to the process's directory. It has to be another file than the target. */
  path: string;
}

/** Where rows come from. */
export type SourceOptions =
  | PostgresqlSource
  | MysqlSource
  | MongodbSource
  | TursoSource
  | StarbasedbSource
  | D1Source
  | SqliteSource;

/**
 * Where rows go: a SQLite file, or a deployed StarbaseDB over its `POST /query`, by its address (`https://…` or `http://…`, without
 * `/query`) and its admin token. A table there has at most 100 columns, a row takes at most 2 MB, a blob about 1 MB
 * (https://developers.cloudflare.com/durable-objects/platform/limits/). A table that has no room fails with `SCHEMA` or `TARGET_WRITE`
 * before anything of it is written, in a dry run too; what grows beyond that later, or could not be searched for within
 * `query_timeout`, fails before its batch is sent.
 */
export type TargetOptions = { type: 'sqlite'; path: string } | { type: 'starbasedb'; url: string; token: string };

/** How failures that pass by themselves are tried again. */
export interface RetryOptions {
  /** Tries in all, at least 1. Default: 5. */
  attempts?: number;
  /** Milliseconds before the second try; doubles from there, with jitter. Default: 200, or `max_ms` if that is less. */
  base_ms?: number;
  /** The longest wait, in milliseconds. Default: 30000, or `base_ms` if that is more. */
  max_ms?: number;
}

/**
 * What stands in a value's place: NULL; the SHA-256 of its text or bytes, as 64 hexadecimal digits; or `[redacted]`. Equal values
 * have equal hashes, and who can guess a value can check the guess.
 */
export type Mask = 'null' | 'hash' | 'redact';

/** The wishes for one table, or for all that a pattern matches. What is absent is taken from the plugin's options. */
export interface TableOptions {
  /** `table`, `schema.table`, or either with `*`. */
  name: string;
  /** The schema, when it is not a part of `name`. */
  schema?: string;
  /** The table's name in the target. Default: its name at the source. */
  as?: string;
  /** Default: `auto`. */
  mode?: TableMode;
  /** The column tracked for incremental updates; of a list, the first that is not NULL. */
  track_column?: string | string[];
  /** The key, for views and for tables without one. */
  primary_key?: string[];
  /** Only these columns. Excludes `exclude_columns`. MongoDB: `['_doc']` keeps whole documents as JSON. */
  columns?: string[];
  /** All but these columns. Excludes `columns`. */
  exclude_columns?: string[];
  /** A condition on the rows, as SQL of the source; for MongoDB a filter as (extended) JSON. */
  where?: string;
  /** The target's type, by the column's name at the source. */
  types?: Record<string, SqliteType>;
  /**
   * Columns whose values don't leave the source's side, by the column's name there; no key and no track column. A NULL stays one.
   * Another mask rebuilds the table.
   */
  mask?: Record<string, Mask>;
  /**
   * Further columns: name → expression in the source's SQL, such as `{ domain: "split_part(email, '@', 2)" }`, of one row each: no
   * aggregate and no window. No key and no track column. Not for MongoDB. Another expression rebuilds the table. Default: `{}`.
   */
  select?: Record<string, string>;
  /** Default: the plugin's `deletes`. */
  deletes?: Deletes;
  /** Rows per batch. Default: the plugin's `batch_size`. */
  batch_size?: number;
}

/** The options of {@link DataSyncPlugin}. Every one has a default. */
export interface DataSyncOptions {
  /** Minutes between the starts of two scheduled runs; fractions are allowed, at least 1 second. Default: 15. */
  sync_interval?: number;
  /**
   * The tables to sync; `'schema.table'` names a schema, `*` is a wildcard. Default `[]`: every base table of the default
   * schema; `['*.*']` takes those of every schema.
   */
  tables?: (string | TableOptions)[];
  /**
   * Rows per batch, a whole number from 1 to 100000; a batch ends at 4 MB, too. Batches that have come while one was written
   * are committed together, up to four. Default: 1000.
   */
  batch_size?: number;
  /**
   * The column tracked for incremental updates; of a list, the first that is not NULL. `'xmin'` (PostgreSQL) catches
   * every insert and update, for one scan a run. Default: `updated_at` where a table has it, else `created_at`.
   */
  track_column?: string | string[];
  /** `false`: the schedule never starts, and `triggerSync` rejects with `SYNC_DISABLED`. Default: `true`. */
  enabled?: boolean;
  /**
   * The SQLite target file. `'auto'` is that of the one StarbaseDB that `wrangler dev` keeps below `.wrangler/state/v3/do`,
   * beside the wrangler file (`config`) or in the process's directory. Default: `$STARBASEDB_DATABASE`, else
   * `./starbasedb.sqlite`.
   */
  database?: string;
  /** Where rows go. Default: the `database` file. Excludes `database`. */
  target?: TargetOptions;
  /** Where rows come from. Default: the `EXTERNAL_DB_*` variables of the environment, `.dev.vars` or wrangler file. */
  source?: SourceOptions;
  /** The wrangler file that may hold `EXTERNAL_DB_*`. Default: `./wrangler.toml` (`.json`, `.jsonc`) when present. */
  config?: string;
  /** Reads `[env.NAME.vars]` of the wrangler file. Default: none. */
  environment?: string;
  /** Source type → target type, above the built-in table. Default: `{}`. */
  type_map?: Record<string, SqliteType>;
  /** Seconds that each run re-reads behind its position in a time column. Default: 300. */
  lookback?: number;
  /** The same for a numeric column, in its own unit. Default: 10000. */
  lookback_values?: number;
  /** What happens to rows of the target that left the source. Default: `none`; `hard` in mode `full`. */
  deletes?: Deletes;
  /** The largest share of a table, from 0 to 1, that one reconcile may delete. Default: 0.5. */
  delete_limit?: number;
  /** What a changed schema at the source does. Default: `evolve`. */
  schema_drift?: SchemaDrift;
  /** How MySQL's zero dates are stored: as the source's text, or as NULL. Default: `text`. */
  zero_dates?: 'text' | 'null';
  /** Seconds after which a run is logged as slow. Default: 30. */
  slow_sync_warning?: number;
  /** Seconds that connecting may take, and that a run waits for another on the same target. Default: 10. */
  connect_timeout?: number;
  /** Seconds that the source may stay silent. Default: 300. */
  query_timeout?: number;
  /** How failures that pass by themselves are tried again; may be given in part. */
  retry?: RetryOptions;
  /** The least urgent level that is logged. Default: `info`. */
  log_level?: LogLevel;
}

/** What a run did for one table. */
export interface TableStats {
  mode: SyncMode;
  /** Rows the source sent. */
  rowsRead: number;
  /** Rows that are new in the target. */
  rowsInserted: number;
  /** Rows of the target that really changed; a re-read row that is equal counts 0. */
  rowsUpdated: number;
  /** Rows of the target that were deleted, or marked as deleted. */
  rowsDeleted: number;
  /** Bytes of row data the source sent. */
  bytesRead: number;
  /** Milliseconds. */
  durationMs: number;
}

/** What a run did. The counts are sums over its tables. */
export interface SyncStats {
  /** ISO 8601, UTC. */
  startedAt: string;
  /** ISO 8601, UTC. */
  finishedAt: string;
  /** Milliseconds. */
  durationMs: number;
  rowsRead: number;
  rowsInserted: number;
  rowsUpdated: number;
  rowsDeleted: number;
  bytesRead: number;
  /** By the table's name in the target. */
  tables: Record<string, TableStats>;
}

/** What a run would do for one table. */
export interface TablePlan {
  /** The table at the source, as `schema.table`. */
  source: string;
  mode: SyncMode;
  phase: SyncPhase;
  trackColumns: string[];
  primaryKey: string[];
  /** The statements that would change the target's schema. */
  ddl: string[];
  /** What may not be as you expect, such as updates that are missed. The log warns of it, too. */
  hints: string[];
  /** The statement that would give the source an index it lacks to find changes by; `null` where none is missing. */
  missingIndex: string | null;
  /** Roughly how many rows would be read, when the source knows. */
  estimatedRows: number | null;
}

/** What `triggerSync(…, { dryRun: true })` found. Nothing was written. See {@link DataSyncError.plan}, too. */
export interface DryRun {
  dryRun: true;
  /** The source, without secrets, such as `postgresql at db.example.com:5432, database app`. */
  source: string;
  /** Where its type stands: `options.source`, `environment`, `.dev.vars` (or `.dev.vars.NAME`), or the wrangler file's path. */
  configuredBy: string;
  /**
   * Where each variable stands that the source was made of, by the variable's name: one of the above, a wrangler file with
   * the section. Never a value. Empty for `options.source`.
   *
   * @example { EXTERNAL_DB_TYPE: '/srv/app/wrangler.toml [vars]', EXTERNAL_DB_PASS: '.dev.vars' }
   */
  variables: Record<string, string>;
  /** What the log warns of besides the tables' hints, such as an option without effect, or a table that is left out. */
  warnings: string[];
  /** By how many milliseconds the source's clock is ahead of this machine's, about; `null` where it tells no time. */
  clockSkewMs: number | null;
  /** By the table's name in the target. */
  tables: Record<string, TablePlan>;
}

/** How a table in the target differs from the source's. */
export interface TableDifferences {
  /** Rows that the source has. */
  rows: number;
  /** Rows that only the source has. */
  missing: number;
  /** Rows that only the target has; with `deletes: 'none'`, rows that were deleted at the source stay there. */
  extra: number;
  /** Rows that both have, of which a value differs. */
  different: number;
  /** Those of them that the next run puts right anyway, such as rows that changed since the last one. */
  pending: number;
  /** Rows that were inserted, rewritten, deleted or marked as deleted; 0 without `repair`. */
  repaired: number;
  /** Up to ten of the rows that differ: how, and their keys as text by the target's columns. Empty without a key. */
  samples: { kind: 'missing' | 'different' | 'extra'; key: Record<string, string> }[];
}

/** What `verify` found. */
export interface Verification {
  /** By the table's name in the target. */
  tables: Record<string, TableDifferences>;
}

/** Where one table stands. */
export interface TableStatus {
  /** The position as text: the track value, or the key while the first load is under way; `null` before the first row. */
  lastValue: string | null;
  /** Rows in the target table. */
  recordCount: number;
  mode: SyncMode;
  phase: SyncPhase;
  /** The end of the last run in which the table succeeded: ISO 8601, UTC. */
  lastSyncTime: string | null;
  /** The message of the last failure; `null` after a success. */
  lastError: string | null;
  /** Rows whose track column is NULL. */
  nullTracked: number;
}

/** Where everything stands, read from the target. */
export interface SyncStatus {
  /** The end of the last successful run: ISO 8601, UTC. */
  lastSyncTime: string | null;
  isRunning: boolean;
  /** By the table's name in the target. */
  tableMap: Record<string, TableStatus>;
}

/** One difference between a table's schema now and at the last run. */
export interface SchemaChange {
  kind: 'columnAdded' | 'columnDropped' | 'columnRetyped' | 'keyChanged';
  /** The column at the source; `null` when the key as a whole changed. */
  column: string | null;
  /** The type before, as the source printed it. */
  from: string | null;
  /** The type now, as the source prints it. */
  to: string | null;
}

/** The values of {@link DataSyncError.code}. */
export type DataSyncErrorCode =
  /** The configuration (options, environment, wrangler file) can't be used. */
  | 'CONFIG'
  /** The source could not be reached. */
  | 'CONNECT'
  /** The source or the target refused the credentials. */
  | 'AUTH'
  /** A table named by the user is not in the source. */
  | 'TABLE_NOT_FOUND'
  /** A type override names something impossible. */
  | 'TYPE_MAP'
  /** The shape of a table at one side doesn't allow what was asked. */
  | 'SCHEMA'
  /** Reading from the source failed. */
  | 'SOURCE_READ'
  /** Writing to the target failed. */
  | 'TARGET_WRITE'
  /** Somebody else holds the target. */
  | 'TARGET_BUSY'
  /** The source asks to come back later. */
  | 'RATE_LIMITED'
  /** The target's state belongs to another source. */
  | 'SOURCE_CHANGED'
  /** A reconcile would delete a larger share of a table than `delete_limit` allows. */
  | 'DELETE_LIMIT'
  /** The plugin is switched off by `enabled: false`. */
  | 'SYNC_DISABLED'
  /** The caller's `AbortSignal` ended the call. */
  | 'ABORTED'
  /** The plugin was stopped while the call was waiting or running. */
  | 'CLOSED'
  /** A defect of this package. */
  | 'INTERNAL';

/** What a call rejects with and what `syncError` tells. Holds no secret and no row value. */
export class DataSyncError extends Error {
  constructor(message: string, details?: Partial<Omit<DataSyncError, keyof Error>> & { cause?: string | null });
  readonly name: 'DataSyncError';
  readonly code: DataSyncErrorCode;
  /** The table's name in the target, when the failure belongs to one. */
  readonly table: string | null;
  /** What happened below; the message ends with it. */
  readonly cause: string | null;
  /** Whether the same call may succeed later without any change. */
  readonly retryable: boolean;
  /** What the run did all the same. */
  readonly stats: SyncStats | null;
  /** One per failed table. */
  readonly errors: DataSyncError[];
  /**
   * What a dry run found all the same: the source, and the tables that can be planned. `null` for other calls, and where the
   * configuration names no source.
   */
  readonly plan: DryRun | null;
}

/** The events by name, with what their listeners are given. */
export interface SyncEvents {
  /** A run has found its tables, named as in the target. */
  syncStart: [event: { tables: string[] }];
  /** A table's turn has come. */
  tableStart: [event: { table: string; mode: SyncMode; phase: SyncPhase }];
  /** Rows were committed; at most 10 times a second. */
  progress: [
    event: {
      table: string;
      /** `verify` while `verify()` compares the table. */
      phase: SyncPhase | 'verify';
      /** Rows read in this run so far. */
      rows: number;
      /** Roughly how many there will be, when known. */
      estimatedRows: number | null;
      /** Since the table's start. */
      rowsPerSecond: number;
    },
  ];
  /** A table is in sync. */
  tableComplete: [event: { table: string } & TableStats];
  /** A table's schema at the source differs from the last run's. */
  schemaChange: [event: { table: string; changes: SchemaChange[] }];
  /** A log line. */
  log: [event: { level: Exclude<LogLevel, 'silent'>; message: string }];
  /** A run ended and every table is in sync. */
  syncComplete: [stats: SyncStats];
  /** A run ended and something failed. Without a listener it is only logged. */
  syncError: [error: DataSyncError];
}

/** A listener of the event `E`. One that throws, or whose promise rejects, is reported on stderr and harms no run. */
export type SyncListener<E extends keyof SyncEvents> = (...args: SyncEvents[E]) => unknown;

/** What of a Hono context {@link RegisterOptions.authorize} may look at. */
export interface RequestContext {
  req: { raw: Request; header(name: string): string | undefined };
  get(key: string): unknown;
}

/** Who may use the routes that `register` puts on an app. Give one of the two, or neither behind StarbaseDB. */
export interface RegisterOptions {
  /** Requests have to bring it: `Authorization: Bearer TOKEN`. */
  token?: string;
  /** Says whether a request may go on: only `true` lets it. What it throws is answered with HTTP 500, without its words. */
  authorize?: (context: RequestContext) => boolean | Promise<boolean>;
}

/** What `triggerSync` takes beside the tables. */
export interface TriggerOptions {
  /** Ends the call after the batch in hand; it then rejects with `ABORTED`. */
  signal?: AbortSignal;
  /** Plans, and writes nothing. Default: `false`. */
  dryRun?: boolean;
}

/** What `verify` takes beside the tables. */
export interface VerifyOptions {
  /** Ends the call; it then rejects with `ABORTED`. */
  signal?: AbortSignal;
  /**
   * Writes the rows that are missing or different anew, and removes those that are extra where `deletes` follows them, up
   * to `delete_limit`. Nothing else is touched, and no position moves. Default: `false`.
   */
  repair?: boolean;
}

/**
 * Keeps a SQLite replica of tables that live in another database.
 *
 * A started schedule and a pending promise keep the process alive; an idle instance does not.
 */
export class DataSyncPlugin extends EventEmitter {
  /**
   * Validates the options and does no I/O.
   *
   * @throws {TypeError} an unknown option or a value of a wrong type, with `code` `CONFIG` or `TYPE_MAP`
   * @throws {RangeError} an impossible value, with `code` `CONFIG` or `TYPE_MAP`
   */
  constructor(options?: DataSyncOptions);

  readonly name: 'dataSync';
  readonly opts: { requiresAuth: boolean };
  readonly pathPrefix: '/data-sync';

  /**
   * Puts the routes below `pathPrefix` on a Hono app and starts the schedule; StarbaseDB calls it. Resolves at once, whatever
   * the first run will bring. Register before the app answers its first request: Hono takes no routes after it.
   *
   * @param app StarbaseDB's Hono app, or any other; one that takes no routes gets none
   * @param options who may use the routes; without them, only requests that StarbaseDB let in with its admin's token
   */
  register(app?: unknown, options?: RegisterOptions): Promise<void>;

  /** Starts the schedule: a run at once, then one every `sync_interval`. Without effect when it has started. */
  start(): void;

  /** Lets the batch in hand commit, then ends the schedule. Waiting calls reject with `CLOSED`. */
  stop(): Promise<void>;

  /** Reads from the target where everything stands; right after a restart and from another process, too. */
  getSyncStatus(): Promise<SyncStatus>;

  /**
   * Runs a sync now. A trigger during a run waits for it, and waiting triggers are merged. With `dryRun` it says what a run
   * would do, and writes nothing.
   *
   * @param tables their names, without wildcards; all when absent or empty
   * @throws {DataSyncError} when a table failed; the others are in sync all the same, or, with `dryRun`, in the error's `plan`
   */
  triggerSync(tables?: readonly string[] | null, options?: TriggerOptions & { dryRun?: false }): Promise<SyncStats>;
  triggerSync(
    tables: readonly string[] | null | undefined,
    options: TriggerOptions & { dryRun: true },
  ): Promise<DryRun>;
  triggerSync(tables?: readonly string[] | null, options?: TriggerOptions): Promise<SyncStats | DryRun>;

  /**
   * Compares the replica with the source, row by row and value by value, and changes neither. Reads each table once; what
   * differs then is looked at a second time, at a later moment of the source. No run goes on meanwhile; triggers wait.
   *
   * @param tables their names, without wildcards; all when absent or empty
   * @throws {DataSyncError} when a table can't be compared: `TABLE_NOT_FOUND` when it was never synced, `SCHEMA` when its
   * schema or options changed since the last run
   */
  verify(tables?: readonly string[] | null, options?: VerifyOptions): Promise<Verification>;
  verify(options: VerifyOptions): Promise<Verification>;

  /**
   * Forgets where a table stands, so that the next run loads it anew.
   *
   * @param table its name in the target; all tables when absent
   */
  resetSyncState(table?: string): Promise<void>;

  /** Sets the least urgent level that is logged. */
  setLogLevel(level: LogLevel): void;

  on<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  once<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  off<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  addListener<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  removeListener<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  prependListener<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;
  prependOnceListener<E extends keyof SyncEvents>(event: E, listener: SyncListener<E>): this;

  /** The same as {@link DataSyncPlugin.stop}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

export default DataSyncPlugin;
