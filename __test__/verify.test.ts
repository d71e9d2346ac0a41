import { once } from 'node:events';
import Database from 'better-sqlite3';

import type { TableDifferences } from '../index.js';
import { onEveryServer, rejection } from './support/world.js';

const NONE: TableDifferences = { rows: 0, missing: 0, extra: 0, different: 0, pending: 0, repaired: 0, samples: [] };

onEveryServer((world) => {
  function damage(sql: string) {
    const file = new Database(world.path);
    file.exec(sql);
    file.close();
  }

  test('verify finds what differs, names keys and no values, and changes nothing', async () => {
    await world.items(500);
    const { plugin, told } = world.sync();
    await plugin.triggerSync();
    expect(await plugin.verify()).toEqual({ tables: { items: { ...NONE, rows: 500 } } });

    damage("DELETE FROM items WHERE id = 7; UPDATE items SET name = 'forged' WHERE id IN (8, 9)");
    await world.query("INSERT INTO items VALUES (501, 'new', now())");
    const found = await plugin.verify(['items']);
    expect(found.tables.items).toEqual({
      ...NONE,
      rows: 501,
      missing: 2,
      different: 2,
      pending: 1,
      samples: [
        { kind: 'missing', key: { id: '7' } },
        { kind: 'missing', key: { id: '501' } },
        { kind: 'different', key: { id: '8' } },
        { kind: 'different', key: { id: '9' } },
      ],
    });
    const line = "Table items differs from the source's 501 rows: 2 missing, 2 different, 0 extra";
    expect(told.lines.join('\n')).toContain(line);
    expect(JSON.stringify(found) + told.lines.join('')).not.toContain('forged');
    expect(world.count('items')).toBe(499);
  });

  test('verify({ repair: true }) puts right exactly that', async () => {
    await world.items(500);
    const { plugin } = world.sync({ deletes: 'hard' });
    await plugin.triggerSync();
    damage(
      "DELETE FROM items WHERE id = 7; UPDATE items SET name = 'x' WHERE id = 8; INSERT INTO items (id) VALUES (900)",
    );
    const before = (await plugin.getSyncStatus()).tableMap.items;
    const found = await plugin.verify({ repair: true });
    expect(found.tables.items).toMatchObject({ missing: 1, different: 1, extra: 1, repaired: 3 });
    expect((await plugin.verify()).tables.items).toEqual({ ...NONE, rows: 500 });
    expect((await plugin.getSyncStatus()).tableMap.items).toEqual(before);
  });

  test('verify waits for a run, ends by a signal and by stop, and says what it can not compare', async () => {
    await world.items(500);
    const { plugin } = world.sync({ batch_size: 1 });
    expect(await rejection(plugin.verify())).toMatchObject({ code: 'TABLE_NOT_FOUND', table: 'items' });
    const run = plugin.triggerSync();
    await once(plugin, 'tableStart');
    expect((await plugin.verify()).tables.items).toEqual({ ...NONE, rows: 500 });
    await run;
    const controller = new AbortController();
    const aborted = rejection(plugin.verify([], { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    const closed = rejection(plugin.verify());
    await plugin.stop();
    expect(await closed).toMatchObject({ code: 'CLOSED' });
    expect((await plugin.verify()).tables.items).toEqual({ ...NONE, rows: 500 });
    await plugin.stop();
    const { plugin: disabled } = world.sync({ enabled: false });
    expect(await rejection(disabled.verify())).toMatchObject({ code: 'SYNC_DISABLED' });
  });
});
