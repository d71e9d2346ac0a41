import { type DataSyncOptions, DataSyncPlugin } from '../index.js';

const source = { type: 'postgresql', host: 'db.example.com', user: 'reader', password: 'hunter2', database: 'app' };

/** Whatever a JavaScript user may pass. */
const make = (options: unknown) => new DataSyncPlugin(options as DataSyncOptions);

function refusal(options: unknown): Error & { code?: string } {
  try {
    make(options);
  } catch (error) {
    return error as Error;
  }
  throw new Error(`${JSON.stringify(options)} was accepted`);
}

const accepted: [option: string, ...values: unknown[]][] = [
  ['sync_interval', 15, 0.5, 1 / 60],
  ['tables', [], ['users'], ['shop.*', { name: 'orders', schema: 'shop', as: 'shop_orders' }]],
  ['batch_size', 1, 1000, 100_000],
  ['track_column', 'updated_at', 'xmin', ['updated_at', 'created_at']],
  ['enabled', true, false],
  ['database', './replica.sqlite'],
  ['target', { type: 'sqlite', path: './replica.sqlite' }],
  ['source', source, { ...source, port: '5433' }, { type: 'postgresql', url: 'postgresql://reader@localhost/app' }],
  ['config', './wrangler.toml'],
  ['environment', 'production'],
  ['type_map', {}, { citext: 'TEXT' }],
  ['lookback', 0, 300, 0.5],
  ['lookback_values', 0, 10_000],
  ['deletes', 'none', 'hard', 'soft'],
  ['delete_limit', 0, 0.5, 1],
  ['schema_drift', 'evolve', 'freeze', 'fail'],
  ['zero_dates', 'text', 'null'],
  ['slow_sync_warning', 30],
  ['connect_timeout', 10],
  ['query_timeout', 300],
  ['retry', {}, { attempts: 1 }, { attempts: 5, base_ms: 200, max_ms: 30_000 }],
  ['log_level', 'debug', 'info', 'warn', 'error', 'silent'],
];

test.each(accepted)('%s takes what it should', (option, ...values) => {
  for (const value of [...values, undefined]) expect(() => make({ [option]: value })).not.toThrow();
});

const refused: [path: string, kind: typeof TypeError | typeof RangeError, options: unknown][] = [
  ['sync_interval', TypeError, { sync_interval: '15' }],
  ['sync_interval', RangeError, { sync_interval: 0 }],
  ['sync_interval', RangeError, { sync_interval: 0.001 }],
  ['tables', TypeError, { tables: 'users' }],
  ['tables[1]', TypeError, { tables: ['users', 7] }],
  ['tables[0]', TypeError, { tables: [{ mode: 'full' }] }],
  ['tables[0].mode', RangeError, { tables: [{ name: 'users', mode: 'mirror' }] }],
  ['tables[0].primary_key', TypeError, { tables: [{ name: 'users', primary_key: 'id' }] }],
  ['tables[0].primarykey', TypeError, { tables: [{ name: 'users', primarykey: ['id'] }] }],
  ['batch_size', RangeError, { batch_size: 0 }],
  ['batch_size', RangeError, { batch_size: 1.5 }],
  ['batch_size', TypeError, { batch_size: '1000' }],
  ['track_column', TypeError, { track_column: 7 }],
  ['track_column', RangeError, { track_column: [] }],
  ['enabled', TypeError, { enabled: 'yes' }],
  ['database', TypeError, { database: 1 }],
  ['target', TypeError, { target: './replica.sqlite' }],
  ['source', TypeError, { source: 'postgresql://localhost/app' }],
  ['source.type', RangeError, { source: { type: 'oracle' } }],
  ['source.port', RangeError, { source: { ...source, port: 70_000 } }],
  ['source.url', TypeError, { source: { ...source, url: 'postgresql://localhost/app' } }],
  ['source.hots', TypeError, { source: { ...source, hots: 'db' } }],
  ['delete_limit', RangeError, { delete_limit: 1.1 }],
  ['lookback', RangeError, { lookback: -1 }],
  ['deletes', RangeError, { deletes: 'maybe' }],
  ['schema_drift', RangeError, { schema_drift: 'ignore' }],
  ['retry.attempts', RangeError, { retry: { attempts: 0 } }],
  ['retry.tries', TypeError, { retry: { tries: 3 } }],
  ['log_level', RangeError, { log_level: 'verbose' }],
  ['batchSize', TypeError, { batchSize: 1000 }],
  ['__proto__', TypeError, JSON.parse('{"__proto__": 1}')],
  // What JSON could not carry.
  ['lookback', RangeError, { lookback: Number.NaN }],
  ['retry.max_ms', RangeError, { retry: { max_ms: Number.POSITIVE_INFINITY } }],
  ['batch_size', TypeError, { batch_size: 1000n }],
  ['tables[0].where', TypeError, { tables: [{ name: 'users', where: () => 'true' }] }],
  ['environment', TypeError, { environment: Symbol('production') }],
  ['database', TypeError, { database: Buffer.from('./replica.sqlite') }],
  ['sync_interval', TypeError, { sync_interval: new Date(0) }],
  ['retry', TypeError, { retry: new Map() }],
];

test.each(refused)('%s: %p is told about %j', (path, kind, options) => {
  const error = refusal(options);
  expect(error).toBeInstanceOf(kind);
  expect(error.code).toBe('CONFIG');
  expect(error.message).toContain(path);
  expect(error.stack).toContain('options.test.ts');
});

test('a cycle is told, a value that is only used twice is not', () => {
  const cycle: Record<string, unknown> = { attempts: 1 };
  cycle.base_ms = cycle;
  expect(refusal({ retry: cycle }).message).toContain('retry.base_ms');
  const columns = ['id'];
  const tables = [
    { name: 'a', columns },
    { name: 'b', columns },
  ];
  expect(() => make({ tables })).not.toThrow();
});

test.each([null, 'options', 7, []])('%p are no options', (options) => {
  expect(refusal(options)).toBeInstanceOf(TypeError);
});

test('a type that SQLite does not have', () => {
  const error = refusal({ type_map: { citext: 'VARCHAR' } });
  expect(error.code).toBe('TYPE_MAP');
  expect(error.message).toMatch(/^Cannot map external type 'citext' to SQLite type/);
});

test('a mistyped option gets a hint', () => {
  expect(refusal({ batch_sizes: 10 }).message).toContain('batch_size');
});

test('no secret is in a message', () => {
  for (const wrong of [
    { ...source, password: { hunter2: 1 } },
    { type: 'postgresql', url: 'hunter2 is no URL' },
  ]) {
    expect(refusal({ source: wrong }).message).not.toContain('hunter2');
  }
});
