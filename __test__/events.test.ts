import { once } from 'node:events';
import type { SyncStats } from '../index.js';
import { onEveryServer, rejection } from './support/world.js';

onEveryServer((world) => {
  test('a run tells what it does, in order, and its result is what syncComplete tells', async () => {
    await world.items(250);
    await world.query('CREATE TABLE notes (id int PRIMARY KEY, text text)');
    const { plugin, told } = world.sync({ batch_size: 100 });
    const stats = await plugin.triggerSync();

    expect(told.outline).toEqual([
      'syncStart',
      'tableStart',
      'tableComplete',
      'tableStart',
      'tableComplete',
      'syncComplete',
    ]);
    expect(told.of('syncStart')).toEqual([{ tables: ['items', 'notes'] }]);
    expect(told.of('tableStart')).toEqual([
      { table: 'items', mode: 'incremental', phase: 'snapshot' },
      { table: 'notes', mode: 'full', phase: 'snapshot' },
    ]);
    expect(told.of('tableComplete')).toEqual([
      { table: 'items', ...stats.tables.items },
      { table: 'notes', ...stats.tables.notes },
    ]);
    expect(told.of('syncComplete')).toEqual([stats]);

    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(stats).toEqual({
      startedAt: time,
      finishedAt: time,
      durationMs: expect.any(Number),
      rowsRead: 250,
      rowsInserted: 250,
      rowsUpdated: 0,
      rowsDeleted: 0,
      bytesRead: expect.any(Number),
      tables: {
        items: {
          mode: 'incremental',
          rowsRead: 250,
          rowsInserted: 250,
          rowsUpdated: 0,
          rowsDeleted: 0,
          bytesRead: stats.bytesRead,
          durationMs: expect.any(Number),
        },
        notes: expect.objectContaining({ mode: 'full', rowsRead: 0, rowsInserted: 0 }),
      },
    });
    expect(stats.bytesRead).toBeGreaterThan(250 * 200);
    // All three are cut to whole milliseconds.
    const elapsed = Date.parse(stats.finishedAt) - Date.parse(stats.startedAt);
    expect(Math.abs(elapsed - stats.durationMs)).toBeLessThanOrEqual(1);

    told.clear();
    await world.query(
      "UPDATE items SET updated_at = now() WHERE id <= 3; INSERT INTO items VALUES (251, 'new', now())",
    );
    const next = await plugin.triggerSync(['items']);
    expect(told.of('tableStart')).toEqual([{ table: 'items', mode: 'incremental', phase: 'incremental' }]);
    expect(next.tables).toMatchObject({ items: { rowsInserted: 1, rowsUpdated: 3, rowsDeleted: 0 } });
    expect(next).toMatchObject({ rowsInserted: 1, rowsUpdated: 3 });
    expect(Object.keys(next.tables)).toEqual(['items']);
  });

  test('progress is told between start and end of its table, at most ten times a second', async () => {
    await world.items(3000);
    const { plugin, told } = world.sync({ batch_size: 1 });
    const stats = await plugin.triggerSync();
    const names = told.events.map((event) => event.name);
    expect(names.indexOf('progress')).toBeGreaterThan(names.indexOf('tableStart'));
    expect(names.lastIndexOf('progress')).toBeLessThan(names.indexOf('tableComplete'));
    const progress = told.of('progress');
    expect(progress.length).toBeLessThanOrEqual(stats.durationMs / 100 + 1);
    let before = 0;
    for (const { rows, ...event } of progress) {
      expect(event).toEqual({
        table: 'items',
        phase: 'snapshot',
        estimatedRows: 3000,
        rowsPerSecond: expect.any(Number),
      });
      expect(rows).toBeGreaterThan(before);
      expect(event.rowsPerSecond).toBeGreaterThan(0);
      before = rows;
    }
  });

  test('a later run that reads the whole table is no first load', async () => {
    await world.items(3000);
    const { plugin, told } = world.sync({ batch_size: 1, tables: [{ name: 'items', mode: 'full' }] });
    await plugin.triggerSync();
    const first = told.of('progress').length;
    await plugin.triggerSync();
    const later = told.of('progress').slice(first);
    expect(later.length).toBeGreaterThan(0);
    expect(new Set(later.map(({ phase }) => phase))).toEqual(new Set(['incremental']));
  });

  test('a run that fails ends in syncError alone, with what was done for the other tables', async () => {
    await world.items(10);
    const { plugin, told } = world.sync({ tables: ['items', 'gone', 'lost'] });
    const error = await rejection(plugin.triggerSync());
    expect(told.outline).toEqual(['syncStart', 'tableStart', 'tableComplete', 'syncError']);
    expect(told.of('syncError')).toEqual([error]);
    expect(error).toMatchObject({
      name: 'DataSyncError',
      code: 'TABLE_NOT_FOUND',
      table: 'gone',
      retryable: false,
      stats: { rowsInserted: 10, tables: { items: { rowsInserted: 10 } } },
      errors: [
        { code: 'TABLE_NOT_FOUND', table: 'gone' },
        { code: 'TABLE_NOT_FOUND', table: 'lost' },
      ],
    });
    expect(error.message).toMatch(/^Table 'gone' not found in external database: /);
    expect(error.message.endsWith(error.cause as string)).toBe(true);
    await world.expectSame('items');
  });

  test('a schema that changed is told column by column', async () => {
    await world.query(
      `CREATE TABLE shapes (id int PRIMARY KEY, dropped text, retyped int, updated_at timestamptz);
       INSERT INTO shapes VALUES (1, 'x', 7, now())`,
    );
    const { plugin, told } = world.sync();
    await plugin.triggerSync();
    expect(told.of('schemaChange')).toEqual([]);
    await world.query(
      `ALTER TABLE shapes DROP dropped, ADD added numeric(4,1) DEFAULT 2.5, ALTER retyped TYPE text USING 'seven'`,
    );
    told.clear();
    await plugin.triggerSync();
    const [change, ...more] = told.of('schemaChange');
    expect(more).toEqual([]);
    expect(change?.table).toBe('shapes');
    expect(change?.changes).toHaveLength(3);
    expect(change?.changes).toEqual(
      expect.arrayContaining([
        { kind: 'columnAdded', column: 'added', from: null, to: 'numeric(4,1)' },
        { kind: 'columnDropped', column: 'dropped', from: 'text', to: null },
        { kind: 'columnRetyped', column: 'retyped', from: 'integer', to: 'text' },
      ]),
    );
    expect(world.rows('SELECT * FROM shapes')).toEqual([
      expect.objectContaining({ id: 1n, dropped: 'x', retyped: 'seven', added: 2.5 }),
    ]);
    told.clear();
    await world.query('ALTER TABLE shapes DROP CONSTRAINT shapes_pkey, ADD PRIMARY KEY (retyped)');
    await plugin.triggerSync();
    expect(told.of('schemaChange')).toEqual([
      { table: 'shapes', changes: [{ kind: 'keyChanged', column: null, from: 'id', to: 'retyped' }] },
    ]);
  });

  test('listeners come, go, throw and reject as they like', async () => {
    await world.items(5);
    const { plugin } = world.sync({ log_level: 'warn' });
    const heard: string[] = [];
    plugin.once('syncStart', () => heard.push('once'));
    const removed = () => heard.push('removed');
    plugin.on('syncStart', removed).off('syncStart', removed);
    plugin.on('tableStart', () => {
      throw new Error('a listener that throws');
    });
    plugin.on('tableComplete', () => Promise.reject(new Error('a listener that rejects')));
    plugin.on('tableStart', () => heard.push('after the throw'));
    plugin.prependListener('syncComplete', () => heard.push('first'));
    plugin.on('syncComplete', () => heard.push('last'));
    const complete = once(plugin, 'syncComplete') as Promise<[SyncStats]>;
    const stats = await plugin.triggerSync();
    expect(await complete).toEqual([stats]);
    await plugin.triggerSync();
    expect(heard).toEqual(['once', 'after the throw', 'first', 'last', 'after the throw', 'first', 'last']);
    expect(world.stderr).toContain("A listener for 'tableStart' threw: Error: a listener that throws");
    expect(world.stderr).toContain("A listener for 'tableComplete' threw: Error: a listener that rejects");
    expect(plugin.listenerCount('syncStart')).toBe(1);
  });

  test('syncError without a listener is logged, and ends no process', async () => {
    const { plugin } = world.sync({ tables: ['gone'] });
    plugin.removeAllListeners();
    expect(await rejection(plugin.triggerSync())).toMatchObject({ code: 'TABLE_NOT_FOUND' });
    expect(world.stderr).toContain("Data Sync Plugin: Table 'gone' not found in external database: ");
  });
});
