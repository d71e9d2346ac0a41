import type { SyncStatus, TableOptions } from '../index.js';
import { syncInChild } from './support/child.js';
import { Gate, onEveryServer, rejection } from './support/world.js';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

onEveryServer((world) => {
  test('getSyncStatus before the first run, after it, from another instance and after a restart', async () => {
    await world.items(5);
    await world.query("INSERT INTO items VALUES (6, 'undated', NULL)");
    const { plugin } = world.sync();
    expect(await plugin.getSyncStatus()).toEqual({ lastSyncTime: null, isRunning: false, tableMap: {} });
    const stats = await plugin.triggerSync();
    const status = await plugin.getSyncStatus();
    const expected: SyncStatus = {
      lastSyncTime: stats.finishedAt,
      isRunning: false,
      tableMap: {
        items: {
          lastValue: '2026-01-01T00:00:05.000000Z',
          recordCount: 6,
          mode: 'incremental',
          phase: 'incremental',
          lastSyncTime: expect.stringMatching(TIME),
          lastError: null,
          nullTracked: 1,
        },
      },
    };
    expect(status).toEqual(expected);
    expect(await world.sync().plugin.getSyncStatus()).toEqual(status);
    await plugin.stop();
    expect(await plugin.getSyncStatus()).toEqual(status);
    expect(await syncInChild(world.options({ log_level: 'silent' }))).toMatchObject({ rowsInserted: 0 });
    expect((await plugin.getSyncStatus()).tableMap).toMatchObject({ items: { recordCount: 6 } });
  });

  test('getSyncStatus while the first load is under way', async () => {
    await world.items(500);
    await world.items(1, 'later');
    const gate = await Gate.shut(world);
    const { plugin } = world.sync({
      batch_size: 100,
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 400') }, 'later'],
    });
    const run = plugin.triggerSync();
    await gate.reached();
    for (const instance of [plugin, world.sync().plugin]) {
      const { isRunning, lastSyncTime, tableMap } = await instance.getSyncStatus();
      expect({ isRunning, lastSyncTime, tables: Object.keys(tableMap) }).toEqual({
        isRunning: true,
        lastSyncTime: null,
        tables: ['items'],
      });
      const { recordCount, lastValue } = tableMap.items ?? {};
      expect(tableMap.items).toMatchObject({ mode: 'full', phase: 'snapshot', lastSyncTime: null, lastError: null });
      // The position of a load is the key of its last committed row.
      expect(lastValue).toBe(recordCount ? String(recordCount) : null);
    }
    await gate.open();
    await run;
    const { isRunning, tableMap } = await plugin.getSyncStatus();
    expect(isRunning).toBe(false);
    expect(tableMap.items).toMatchObject({ phase: 'incremental', recordCount: 500 });
  });

  test('lastError is of the last run alone, and lastSyncTime stays that of the last success', async () => {
    await world.items(3);
    await world.items(3, 'other');
    const { plugin } = world.sync();
    await plugin.triggerSync();
    const before = await plugin.getSyncStatus();
    await world.query('ALTER TABLE items RENAME COLUMN id TO key');
    const error = await rejection(world.sync({ schema_drift: 'fail' }).plugin.triggerSync());
    const after = await plugin.getSyncStatus();
    expect(after.lastSyncTime).toBe(before.lastSyncTime);
    expect(after.tableMap.items?.lastError).toBe(error.message);
    expect(after.tableMap.items?.lastSyncTime).toBe(before.tableMap.items?.lastSyncTime);
    expect(after.tableMap.other?.lastError).toBeNull();
    await world.query('ALTER TABLE items RENAME COLUMN key TO id');
    await plugin.triggerSync();
    expect((await plugin.getSyncStatus()).tableMap.items?.lastError).toBeNull();
  });

  test('recordCount follows inserts and deletes', async () => {
    await world.items(10);
    const { plugin } = world.sync({ deletes: 'hard' });
    await plugin.triggerSync();
    await world.query("DELETE FROM items WHERE id <= 3; INSERT INTO items VALUES (11, 'x', now())");
    await plugin.triggerSync();
    expect((await plugin.getSyncStatus()).tableMap.items?.recordCount).toBe(8);
    expect(world.count('items')).toBe(8);
  });

  test('triggerSync of some tables leaves the others alone', async () => {
    for (const table of ['a', 'b', 'c']) await world.items(2, table);
    const { plugin } = world.sync();
    expect(Object.keys((await plugin.triggerSync(['a', 'public.c'])).tables)).toEqual(['a', 'c']);
    expect(Object.keys((await plugin.getSyncStatus()).tableMap)).toEqual(['a', 'c']);
    const error = await rejection(plugin.triggerSync(['b', 'd']));
    expect(error).toMatchObject({ code: 'TABLE_NOT_FOUND', table: 'd', stats: { rowsInserted: 2 } });
    expect(error.message).toMatch(/^Table 'd' not found in external database/);
    expect(Object.keys((await plugin.triggerSync([])).tables)).toEqual(['a', 'b', 'c']);
  });

  test('dryRun tells what would be done, and does nothing', async () => {
    await world.items(200);
    const { plugin, told } = world.sync({ tables: [{ name: 'items', as: 'things' }] });
    const dryRun = true;
    expect(await plugin.triggerSync([], { dryRun })).toEqual({
      dryRun: true,
      source: expect.stringMatching(/^postgresql at 127.0.0.1:\d+, database test_/),
      configuredBy: 'options.source',
      variables: {},
      warnings: [],
      clockSkewMs: expect.any(Number),
      tables: {
        things: {
          source: 'public.items',
          mode: 'incremental',
          phase: 'snapshot',
          trackColumns: ['updated_at'],
          primaryKey: ['id'],
          ddl: [
            expect.stringMatching(/^CREATE TABLE .*"things" .*"id" INTEGER NOT NULL/s),
            expect.stringMatching(/^CREATE INDEX .*"tmp_data_sync_null_things"/),
          ],
          hints: [],
          missingIndex: null,
          estimatedRows: 200,
        },
      },
    });
    expect(() => world.rows('SELECT 1')).toThrow();
    expect(told.outline).toEqual([]);

    await plugin.triggerSync();
    const content = () =>
      ['things', 'tmp_data_sync_state', 'tmp_data_sync_meta'].map((t) => world.rows(`SELECT * FROM ${t}`));
    const before = content();
    await world.query("ALTER TABLE items ADD extra int; INSERT INTO items VALUES (201, 'x', now(), 1)");
    const { tables } = await plugin.triggerSync(['things'], { dryRun });
    expect(tables.things).toMatchObject({
      // The rows that are there lack its values, so all are read.
      phase: 'snapshot',
      ddl: [expect.stringMatching(/ADD COLUMN "extra" INTEGER$/)],
    });
    expect(content()).toEqual(before);
    expect(await rejection(plugin.triggerSync(['gone', 'things'], { dryRun }))).toMatchObject({
      code: 'TABLE_NOT_FOUND',
      errors: [{ name: 'DataSyncError', table: 'gone' }],
      stats: null,
      plan: { source: expect.any(String), tables: { things: { mode: 'incremental' } } },
    });
  });

  test('dryRun tells what could be better', async () => {
    await world.query(
      `CREATE TABLE large (id int PRIMARY KEY, updated_at timestamptz);
       INSERT INTO large SELECT i, now() FROM generate_series(1, 150000) i; ANALYZE large;
       CREATE TABLE old (id int PRIMARY KEY, created_at timestamptz)`,
    );
    const plan = async (...tables: TableOptions[]) =>
      Object.values((await world.sync({ tables }).plugin.triggerSync([], { dryRun: true })).tables);
    expect(await plan({ name: 'large' }, { name: 'old' })).toMatchObject([
      { hints: [], missingIndex: expect.stringMatching(/^CREATE INDEX .*"updated_at"/) },
      {
        hints: [expect.stringMatching(/^Table old has only created_at to track.*updates are missed/)],
        missingIndex: null,
      },
    ]);
    // Read whole because nothing else is left, and by choice.
    expect(await plan({ name: 'large', exclude_columns: ['updated_at'] })).toMatchObject([
      { hints: [expect.stringMatching(/^Table large is large and is read whole every run/)], missingIndex: null },
    ]);
    expect(await plan({ name: 'large', mode: 'full' })).toMatchObject([{ hints: [], missingIndex: null }]);
  });

  test('resetSyncState of one table, of all, and of one that is unknown', async () => {
    await world.items(5, 'a');
    await world.items(5, 'b');
    const { plugin } = world.sync();
    await plugin.resetSyncState();
    const unknown = await rejection(plugin.resetSyncState('a'));
    expect(unknown).toMatchObject({ name: 'DataSyncError', code: 'TABLE_NOT_FOUND', table: 'a' });
    expect(unknown.message).toMatch(/^Table 'a' has no sync state: /);
    await plugin.triggerSync();

    expect(await plugin.resetSyncState('a')).toBeUndefined();
    const { tableMap } = await plugin.getSyncStatus();
    expect(tableMap).toMatchObject({
      a: { lastValue: null, phase: 'snapshot', recordCount: 5 },
      b: { lastValue: '2026-01-01T00:00:05.000000Z', phase: 'incremental' },
    });
    await world.query("UPDATE a SET name = 'silent' WHERE id = 1; UPDATE b SET name = 'silent' WHERE id = 1");
    // Out of sight of any run but one that loads anew.
    const { tables } = await world.sync({ lookback: 0 }).plugin.triggerSync();
    expect(tables).toMatchObject({ a: { rowsRead: 5, rowsInserted: 0, rowsUpdated: 1 }, b: { rowsUpdated: 0 } });
    await world.expectSame('a');

    await plugin.resetSyncState();
    expect((await plugin.getSyncStatus()).lastSyncTime).toBeNull();
    expect((await plugin.triggerSync()).tables).toMatchObject({ a: { rowsUpdated: 0 }, b: { rowsUpdated: 1 } });
    await world.expectSame('b');
    expect(await rejection(plugin.resetSyncState('c'))).toMatchObject({ code: 'TABLE_NOT_FOUND', table: 'c' });
  });
});
