import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import type { DataSyncOptions } from '../index.js';
import { Gate, onEveryServer, rejection } from './support/world.js';

onEveryServer((world) => {
  test('track_column: updated_at before created_at before the whole table', async () => {
    await world.query(
      `CREATE TABLE dated (id int PRIMARY KEY, created_at timestamptz, updated_at timestamptz);
       CREATE TABLE made (id int PRIMARY KEY, created_at timestamptz); CREATE TABLE neither (id int PRIMARY KEY)`,
    );
    const plan = async (options: DataSyncOptions) => {
      const { tables } = await world.sync(options).plugin.triggerSync([], { dryRun: true });
      return Object.entries(tables).map(([name, { mode, trackColumns }]) => [name, mode, trackColumns.join()]);
    };
    expect(await plan({})).toEqual([
      ['dated', 'incremental', 'updated_at'],
      ['made', 'incremental', 'created_at'],
      ['neither', 'full', ''],
    ]);
    expect(await plan({ track_column: 'created_at' })).toEqual([
      ['dated', 'incremental', 'created_at'],
      ['made', 'incremental', 'created_at'],
      ['neither', 'full', ''],
    ]);
    expect(await plan({ track_column: ['updated_at', 'created_at'], tables: ['dated'] })).toEqual([
      ['dated', 'incremental', 'updated_at,created_at'],
    ]);
    expect((await plan({ track_column: 'xmin' })).map(([, mode, column]) => [mode, column])).toEqual(
      Array(3).fill(['incremental', 'xmin']),
    );
  });

  test('track_column: a list means the first that is not NULL', async () => {
    await world.query(
      `CREATE TABLE t (id int PRIMARY KEY, name text, updated_at timestamptz, created_at timestamptz NOT NULL);
       INSERT INTO t SELECT i, 'x', NULL, '2020-01-01Z' FROM generate_series(1, 5) i`,
    );
    const { plugin } = world.sync({ track_column: ['updated_at', 'created_at'] });
    await plugin.triggerSync();
    await world.query(
      "UPDATE t SET name = 'y', updated_at = now() WHERE id = 2; INSERT INTO t VALUES (6, 'z', NULL, now())",
    );
    expect((await plugin.triggerSync()).tables.t).toMatchObject({ rowsInserted: 1, rowsUpdated: 1 });
    await world.expectSame('t');
  });

  test("track_column: 'xmin' sees what moves no column", async () => {
    await world.items(5);
    const { plugin } = world.sync({ track_column: 'xmin' });
    await plugin.triggerSync();
    await world.query("UPDATE items SET name = 'silent' WHERE id = 2; INSERT INTO items VALUES (0, 'low', NULL)");
    expect((await plugin.triggerSync()).tables.items).toMatchObject({ rowsRead: 2, rowsInserted: 1, rowsUpdated: 1 });
    await world.expectSame('items');
  });

  test('enabled: false starts nothing and rejects', async () => {
    await world.items(1);
    const { plugin, told } = world.sync({ enabled: false });
    plugin.start();
    await plugin.register({});
    for (const options of [{}, { dryRun: true } as const]) {
      const error = await rejection(plugin.triggerSync([], options));
      expect(error).toMatchObject({ name: 'DataSyncError', code: 'SYNC_DISABLED', retryable: false });
    }
    expect(told.outline).toEqual([]);
    expect(await plugin.getSyncStatus()).toEqual({ lastSyncTime: null, isRunning: false, tableMap: {} });
  });

  test('target: the same file as database', async () => {
    await world.items(3);
    const path = world.folder.fresh();
    await world.run({ target: { type: 'sqlite', path } });
    await world.expectSame('items', { path });
  });

  test('lookback: how far behind the position a late row is found', async () => {
    await world.items(0, 'near');
    await world.items(0, 'far');
    const late = (seconds: number, id: number) =>
      `INSERT INTO near VALUES (${id}, 'late', now() - interval '${seconds} s')`;
    await world.query(late(10, 1));
    const { plugin } = world.sync({ tables: ['near'] });
    await plugin.triggerSync();
    await world.query(`${late(200, 2)}; ${late(4000, 3)}`);
    expect((await plugin.triggerSync()).rowsInserted).toBe(1);
    const wider = world.sync({ tables: ['near'], lookback: 5000 });
    await world.query(late(3000, 4));
    expect((await wider.plugin.triggerSync()).tables.near?.rowsInserted).toBe(1);
    const narrow = world.sync({ tables: ['near'], lookback: 0 });
    await world.query(late(20, 5));
    expect((await narrow.plugin.triggerSync()).tables.near?.rowsInserted).toBe(0);
  });

  test('lookback_values: the same for an integer column', async () => {
    await world.query('CREATE TABLE t (id int PRIMARY KEY, seq bigint NOT NULL); INSERT INTO t VALUES (1, 50000)');
    const options: DataSyncOptions = { track_column: 'seq', tables: ['t'] };
    await world.run(options);
    await world.query('INSERT INTO t VALUES (2, 41000), (3, 39000)');
    expect((await world.run(options)).stats.rowsInserted).toBe(1);
    await world.query('INSERT INTO t VALUES (4, 30001)');
    expect((await world.run({ ...options, lookback_values: 10 })).stats.rowsInserted).toBe(0);
    await world.query('INSERT INTO t VALUES (5, 30002)');
    expect((await world.run({ ...options, lookback_values: 20_000 })).stats.rowsInserted).toBe(1);
  });

  test('deletes: none keeps, hard deletes, soft marks and brings back', async () => {
    await world.items(10);
    const [none, hard, soft] = [world.folder.fresh(), world.folder.fresh(), world.folder.fresh()];
    const runs = [
      world.sync({ database: none }),
      world.sync({ database: hard, deletes: 'hard' }),
      world.sync({ database: soft, deletes: 'soft' }),
    ];
    for (const { plugin } of runs) await plugin.triggerSync();
    await world.query('DELETE FROM items WHERE id IN (3, 4)');
    const deleted = [];
    for (const { plugin } of runs) deleted.push((await plugin.triggerSync()).rowsDeleted);
    expect(deleted).toEqual([0, 2, 2]);
    expect([none, hard, soft].map((path) => world.count('items', path))).toEqual([10, 8, 10]);
    expect(world.rows('SELECT id FROM items WHERE _deleted_at IS NOT NULL ORDER BY id', soft)).toEqual([
      { id: 3n },
      { id: 4n },
    ]);
    expect(world.value('SELECT _deleted_at FROM items WHERE id = 3', soft)).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    await world.expectSame('items', { path: hard });
    await world.query("INSERT INTO items VALUES (3, 'back', now())");
    await runs[2]?.plugin.triggerSync();
    expect(world.rows('SELECT name FROM items WHERE id = 3 AND _deleted_at IS NULL', soft)).toEqual([{ name: 'back' }]);
  });

  test('delete_limit: refuses to delete a larger share, and touches nothing', async () => {
    await world.items(10);
    await world.run({ deletes: 'hard' });
    await world.query('DELETE FROM items WHERE id <= 4');
    const { error } = await world.fail({ deletes: 'hard', delete_limit: 0.3 });
    expect(error).toMatchObject({ code: 'DELETE_LIMIT', table: 'items', retryable: false });
    expect(error.message).toMatch(/^Refused to delete 4 of 10 rows of table 'items': .*delete_limit/);
    expect(world.count('items')).toBe(10);
    expect((await world.run({ deletes: 'hard' })).stats.rowsDeleted).toBe(4);
    await world.query('DELETE FROM items');
    expect((await world.fail({ deletes: 'hard' })).error.code).toBe('DELETE_LIMIT');
    expect((await world.run({ deletes: 'hard', delete_limit: 1 })).stats.rowsDeleted).toBe(6);
  });

  test('schema_drift: evolve follows, freeze goes on without, fail refuses', async () => {
    await world.items(3);
    const columns = () =>
      world.rows("SELECT name FROM pragma_table_info('items')").map((row) => (row as { name: string }).name);
    await world.run();
    await world.query("ALTER TABLE items ADD extra text DEFAULT 'filled'");
    const { error, told } = await world.fail({ schema_drift: 'fail' });
    expect(error).toMatchObject({ code: 'SCHEMA', table: 'items', retryable: false });
    expect(error.message).toMatch(/^The schema of table 'items' changed: column extra \(text\) was added/);
    expect(told.of('syncComplete')).toEqual([]);
    await world.query("INSERT INTO items (id, name, updated_at) VALUES (4, 'new', now())");
    const frozen = await world.run({ schema_drift: 'freeze' });
    expect(frozen.stats.rowsInserted).toBe(1);
    expect(frozen.told.of('schemaChange')).toHaveLength(1);
    expect(columns()).toEqual(['id', 'name', 'updated_at']);
    await world.run({ schema_drift: 'evolve' });
    expect(columns()).toEqual(['id', 'name', 'updated_at', 'extra']);
    await world.expectSame('items');
  });

  test('connect_timeout: ends the wait for a server that says nothing', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => mute.once('listening', resolve));
    const { port } = mute.address() as AddressInfo;
    const source = { ...world.database.source, port };
    const { error } = await world.fail({ source, connect_timeout: 0.2, retry: { attempts: 1 } });
    expect(error).toMatchObject({ code: 'CONNECT', retryable: true, table: null });
    expect(error.message).toBe(`Failed to connect to external database: connect ETIMEDOUT 127.0.0.1:${port}`);
    mute.close();
  });

  test('query_timeout: ends the wait for a source that falls silent, and the next run goes on', async () => {
    await world.items(500);
    const gate = await Gate.shut(world);
    const options: DataSyncOptions = {
      batch_size: 100,
      retry: { attempts: 1 },
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 400') }],
    };
    const { error } = await world.fail({ ...options, query_timeout: 0.5 });
    expect(error).toMatchObject({ code: 'SOURCE_READ', table: 'items', retryable: true });
    expect(error.message).toMatch(/^Failed to read table 'items' from external database: .*0\.5 s.*query_timeout/);
    const before = world.count('items');
    expect(before).toBeGreaterThan(0);
    await gate.open();
    const { stats } = await world.run(options);
    expect(stats.rowsInserted).toBe(500 - before);
    await world.expectSame('items');
  });

  test('retry: transient failures are tried again so many times, others never', async () => {
    const source = { ...world.database.source, port: 1 };
    const { told } = await world.fail({ source, retry: { attempts: 3, base_ms: 1, max_ms: 2 } });
    const tries = (lines: string[]) =>
      lines.filter((line) => line.includes('again in')).map((line) => /\(try (.*?)\)/.exec(line)?.[1]);
    expect(tries(told.lines)).toEqual(['2 of 3', '3 of 3']);
    const wrong = { ...world.database.source, password: 'wrong' };
    const refused = await world.fail({ source: wrong, retry: { attempts: 3, base_ms: 1 } });
    expect(refused.error.code).toBe('AUTH');
    expect(tries(refused.told.lines)).toEqual([]);
  });

  test('zero_dates: changes nothing for a source that has none', async () => {
    await world.items(2);
    await world.run({ zero_dates: 'null' });
    await world.expectSame('items');
  });
});
