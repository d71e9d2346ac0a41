// Compiled by `npm run test:types`, never run: every @ts-expect-error must be an error, and nothing else may be one.

import DefaultPlugin, {
  DataSyncError,
  type DataSyncErrorCode,
  type DataSyncOptions,
  DataSyncPlugin,
  type DryRun,
  type SourceOptions,
  type SyncEvents,
  type SyncStats,
  type SyncStatus,
  type Verification,
} from '../../index.js';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const proven = <_Claim extends true>() => {};

const all: Required<DataSyncOptions> = {
  sync_interval: 0.5,
  tables: [
    'users',
    'shop.*',
    {
      name: 'orders',
      schema: 'shop',
      as: 'shop_orders',
      mode: 'incremental',
      track_column: ['updated_at', 'created_at'],
      primary_key: ['id'],
      columns: ['id', 'total'],
      where: 'total > 0',
      types: { total: 'REAL' },
      mask: { customer: 'hash' },
      select: { cents: 'total * 100' },
      deletes: 'soft',
      batch_size: 500,
    },
    { name: 'notes', exclude_columns: ['draft'] },
  ],
  batch_size: 1000,
  track_column: 'xmin',
  enabled: true,
  database: './replica.sqlite',
  target: { type: 'sqlite', path: './replica.sqlite' },
  source: { type: 'postgresql', url: 'postgresql://reader@db.example.com/app', ssl: 'verify-full' },
  config: './wrangler.jsonc',
  environment: 'production',
  type_map: { citext: 'TEXT' },
  lookback: 300,
  lookback_values: 10_000,
  deletes: 'none',
  delete_limit: 0.5,
  schema_drift: 'evolve',
  zero_dates: 'null',
  slow_sync_warning: 30,
  connect_timeout: 10,
  query_timeout: 300,
  retry: { attempts: 5 },
  log_level: 'info',
};

export const sources: SourceOptions[] = [
  { type: 'postgresql', host: 'localhost', user: 'reader', password: '', database: 'app', ca_cert: './ca.pem' },
  { type: 'mysql', url: 'mysql://reader@localhost/app' },
  { type: 'mariadb', url: 'mysql://reader@localhost/app' },
  { type: 'postgres', host: 'localhost', user: 'reader', password: '', database: 'app' },
  { type: 'mongodb', uri: 'mongodb://localhost/app' },
  { type: 'turso', uri: 'libsql://app.turso.io' },
  { type: 'starbasedb', uri: 'https://app.example.com', token: 'x' },
  { type: 'd1', api_key: 'x', account_id: 'x', database_id: 'x' },
  { type: 'sqlite', path: './app.sqlite' },
  // @ts-expect-error there is no such type
  { type: 'oracle', url: 'oracle://localhost' },
  // @ts-expect-error the parts are incomplete
  { type: 'postgresql', host: 'localhost' },
  // @ts-expect-error a URL and parts exclude each other
  { type: 'postgresql', url: 'postgresql://localhost/app', host: 'localhost', user: 'reader', database: 'app' },
  // @ts-expect-error a member of another type of source
  { type: 'turso', uri: 'libsql://app.turso.io', account_id: 'x' },
];

export const wrong: DataSyncOptions[] = [
  // @ts-expect-error an unknown option
  { batchSize: 1000 },
  // @ts-expect-error minutes are a number
  { sync_interval: '15' },
  // @ts-expect-error not a SQLite type
  { type_map: { citext: 'NUMERIC' } },
  // @ts-expect-error not a mode
  { tables: [{ name: 'users', mode: 'mirror' }] },
  // @ts-expect-error a table needs a name
  { tables: [{ mode: 'full' }] },
  // @ts-expect-error not a level
  { log_level: 'verbose' },
  // @ts-expect-error not a drift
  { schema_drift: 'ignore' },
];

export async function calls(): Promise<void> {
  const plugin = new DataSyncPlugin(all);
  new DataSyncPlugin();
  proven<Same<typeof DefaultPlugin, typeof DataSyncPlugin>>();
  proven<Same<typeof plugin.name, 'dataSync'>>();

  await plugin.register();
  await plugin.register({ get() {} });
  plugin.start();

  const status = await plugin.getSyncStatus();
  proven<Same<typeof status, SyncStatus>>();
  const position: string | null | undefined = status.tableMap.users?.lastValue;
  void position;

  const stats = await plugin.triggerSync(['users'], { signal: new AbortController().signal });
  proven<Same<typeof stats, SyncStats>>();
  const plan = await plugin.triggerSync(undefined, { dryRun: true });
  proven<Same<typeof plan, DryRun>>();
  const statement: string | null | undefined = plan.tables.users?.missingIndex;
  const place: string | undefined = plan.variables.EXTERNAL_DB_HOST;
  void [statement, place, plan.warnings[0], plan.tables.users?.hints[0]];
  const either = await plugin.triggerSync(null, { dryRun: Math.random() < 0.5 });
  proven<Same<typeof either, SyncStats | DryRun>>();
  // @ts-expect-error an array of names
  await plugin.triggerSync('users');
  // @ts-expect-error not an option
  await plugin.triggerSync([], { timeout: 1 });

  const found = await plugin.verify();
  proven<Same<typeof found, Verification>>();
  await plugin.verify(['users'], { repair: true, signal: new AbortController().signal });
  await plugin.verify({ repair: true });
  // @ts-expect-error not an option
  await plugin.verify({ dryRun: true });

  await plugin.resetSyncState();
  await plugin.resetSyncState('users');
  // @ts-expect-error one name
  await plugin.resetSyncState(['users']);

  plugin.setLogLevel('silent');
  // @ts-expect-error not a level
  plugin.setLogLevel('off');
  await plugin.stop();
  await plugin[Symbol.asyncDispose]();
}

export function events(plugin: DataSyncPlugin): void {
  plugin
    .on('syncStart', ({ tables }) => proven<Same<typeof tables, string[]>>())
    .on('tableStart', ({ mode }) => proven<Same<typeof mode, 'incremental' | 'append' | 'full'>>())
    .once('progress', ({ estimatedRows }) => proven<Same<typeof estimatedRows, number | null>>())
    .on('tableComplete', async ({ table, rowsUpdated }) => `${table} ${rowsUpdated.toFixed()}`)
    .on('schemaChange', ({ changes }) => changes.map((change) => change.kind === 'keyChanged'))
    .on('log', ({ level }) => proven<Same<typeof level, 'debug' | 'info' | 'warn' | 'error'>>())
    .on('syncComplete', (stats) => proven<Same<typeof stats, SyncStats>>())
    .on('syncError', (error) => {
      proven<Same<typeof error, DataSyncError>>();
      proven<Same<typeof error.code, DataSyncErrorCode>>();
      // @ts-expect-error not a code
      return error.code === 'EFAULT';
    })
    .off('log', (line: SyncEvents['log'][0]) => line.message);
  // @ts-expect-error there is no such event
  plugin.on('error', () => {});
  // @ts-expect-error there is no such event
  plugin.once('synccomplete', () => {});
  // @ts-expect-error not what the listener is given
  plugin.on('progress', (event: { percent: number }) => event.percent);
  const isError: boolean = new DataSyncError('…', { code: 'CONFIG' }) instanceof Error;
  void isError;
}
