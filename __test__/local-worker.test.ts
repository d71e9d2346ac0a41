import { join } from 'node:path';
import type { DataSyncOptions } from '../index.js';
import { LocalWorker } from './support/local-worker.js';
import { onEveryServer } from './support/world.js';

onEveryServer((world) => {
  let worker: LocalWorker;
  const auto = (options: DataSyncOptions): DataSyncOptions => ({
    database: 'auto',
    config: join(world.folder.path, 'wrangler.toml'),
    ...options,
  });

  beforeEach(async () => {
    worker = await LocalWorker.start(world.folder.path);
    await worker.query('CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)');
  });
  afterEach(() => worker.stop());

  test('a local StarbaseDB is found, and its Worker goes on writing during a load, a rebuild and deletes', async () => {
    const WRITES = 400;
    await world.items(30_000);
    const { plugin, told } = world.sync(auto({ deletes: 'hard', delete_limit: 1 }));
    const writing = worker.query("INSERT INTO notes VALUES (:at, 'note :at')", WRITES);
    expect(await plugin.triggerSync()).toMatchObject({ rowsInserted: 30_000 });
    await world.query('DELETE FROM items WHERE id % 2 = 0');
    expect(await plugin.triggerSync()).toMatchObject({ rowsDeleted: 15_000 });
    await world.query('ALTER TABLE items ALTER name TYPE int USING id');
    await plugin.triggerSync();
    expect(await writing).toMatchObject({ failed: [] });
    expect(told.of('syncError')).toEqual([]);
    const count = await worker.query(
      'SELECT (SELECT count(*) FROM notes) AS notes, (SELECT count(*) FROM items) AS items, (SELECT typeof(name) FROM items LIMIT 1) AS type',
    );
    expect(count.last).toEqual([{ notes: WRITES, items: 15_000, type: 'integer' }]);
    const { tables } = await plugin.verify();
    expect(tables.items).toMatchObject({ rows: 15_000, missing: 0, extra: 0, different: 0 });
  });
});
