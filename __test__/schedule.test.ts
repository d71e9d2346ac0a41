import { once } from 'node:events';
import type { SyncStats } from '../index.js';
import { Gate, onEveryServer, until } from './support/world.js';

const SECOND = 1 / 60;

onEveryServer((world) => {
  test.each(['start', 'register'] as const)('%s runs at once, then every sync_interval, until stop', async (way) => {
    await world.items(3);
    const { plugin, told } = world.sync({ sync_interval: SECOND });
    const begun: number[] = [];
    plugin.on('syncStart', () => begun.push(performance.now()));
    const [started, complete] = [performance.now(), once(plugin, 'syncComplete')];
    if (way === 'start') plugin.start();
    else await plugin.register({ get: () => {}, use: () => {} });
    plugin.start();
    await complete;
    await once(plugin, 'syncComplete');
    await plugin.stop();
    const [first, second, ...more] = begun as [number, number];
    expect(more).toEqual([]);
    expect(first - started).toBeLessThan(second - first + 1000);
    // Between the starts, whatever the first run took; a loaded machine may let the second run follow earlier or later.
    expect(second - first).toBeGreaterThan(400);
    told.clear();
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(told.events).toEqual([]);
    await world.expectSame('items');
  });

  test('the schedule goes on after a failure', async () => {
    const { plugin, told } = world.sync({ sync_interval: SECOND, tables: ['items'] });
    const failed = once(plugin, 'syncError');
    plugin.start();
    expect((await failed)[0]).toMatchObject({ code: 'TABLE_NOT_FOUND' });
    await world.items(3);
    if (told.of('syncComplete').length === 0) await once(plugin, 'syncComplete');
    await plugin.stop();
    await world.expectSame('items');
  });

  test('overdue runs are merged into one, and stop can be followed by start', async () => {
    await world.items(3);
    const gate = await Gate.shut(world);
    const { plugin, told } = world.sync({
      sync_interval: SECOND,
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id = 3') }],
    });
    plugin.start();
    await gate.reached();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(told.of('syncStart')).toHaveLength(1);
    await gate.open();
    await until(() => told.of('syncComplete').length === 2);
    expect(told.of('syncStart').length).toBeLessThanOrEqual(3);
    await plugin.stop();
    told.clear();
    plugin.start();
    await once(plugin, 'syncComplete');
    await plugin.stop();
    expect(told.outline.at(-1)).toBe('syncComplete');
  });

  test('triggers during a run are merged into one further run', async () => {
    for (const table of ['a', 'b', 'c']) await world.items(3, table);
    const gate = await Gate.shut(world);
    const { plugin, told } = world.sync({
      tables: ['a', 'b', { name: 'c', mode: 'full', where: Gate.filter('id = 3') }],
    });
    const first = plugin.triggerSync();
    await gate.reached();
    const [second, third, fourth] = [plugin.triggerSync(['a']), plugin.triggerSync(['b']), plugin.triggerSync(['a'])];
    expect((await plugin.getSyncStatus()).isRunning).toBe(true);
    await gate.open();
    const stats: SyncStats[] = await Promise.all([first, second, third, fourth]);
    expect(stats.map(({ tables }) => Object.keys(tables).join())).toEqual(['a,b,c', 'a,b', 'a,b', 'a,b']);
    expect(stats[2]).toEqual(stats[1]);
    expect(stats[3]).toEqual(stats[1]);
    expect(told.of('syncStart')).toEqual([{ tables: ['a', 'b', 'c'] }, { tables: ['a', 'b'] }]);
  });

  test('calls take effect in the order in which they are made', async () => {
    await world.items(3);
    const { plugin, told } = world.sync();
    for (let round = 0; round < 20; round++) {
      const run = plugin.triggerSync().then(
        () => 'done',
        ({ code }) => code,
      );
      await plugin.stop();
      expect(await run).toBe('CLOSED');
      expect((await plugin.getSyncStatus()).isRunning).toBe(false);
    }
    expect(told.of('syncComplete')).toEqual([]);
  });

  test('two instances on two targets do not interfere', async () => {
    await world.items(300, 'a');
    await world.items(200, 'b');
    const [left, right] = [world.folder.fresh(), world.folder.fresh()];
    const one = world.sync({ database: left, tables: ['a'], batch_size: 10 });
    const two = world.sync({ database: right, tables: ['b'], batch_size: 10, log_level: 'warn' });
    await Promise.all([one.plugin.triggerSync(), two.plugin.triggerSync()]);
    expect(one.told.of('syncStart')).toEqual([{ tables: ['a'] }]);
    expect(two.told.of('syncStart')).toEqual([{ tables: ['b'] }]);
    expect(one.told.lines.length).toBeGreaterThan(0);
    expect(two.told.lines).toEqual([]);
    await one.plugin.stop();
    expect(await two.plugin.triggerSync()).toMatchObject({ rowsInserted: 0 });
    await world.expectSame('a', { path: left });
    await world.expectSame('b', { path: right });
  });

  test('two instances on one target take turns', async () => {
    await world.items(300);
    const pair = [world.sync({ batch_size: 10 }), world.sync({ batch_size: 10 })] as const;
    const stats = await Promise.all(pair.map(({ plugin }) => plugin.triggerSync()));
    expect(stats.map(({ rowsInserted }) => rowsInserted).sort()).toEqual([0, 300]);
    await world.expectSame('items');
  });
});
