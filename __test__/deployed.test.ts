import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './support/child.js';
import { deployed } from './support/sqlite-family.js';
import { onEveryServer } from './support/world.js';

onEveryServer((world) => {
  test('a deployed StarbaseDB: load, changes, deletes, verify, status, reset', async () => {
    await using instance = deployed();
    await world.items(3_000);
    const { plugin, told } = world.sync({ target: instance.target, deletes: 'hard', batch_size: 100 });
    expect(await plugin.triggerSync()).toMatchObject({ rowsInserted: 3_000, rowsUpdated: 0 });
    await world.query(
      "UPDATE items SET name = 'new', updated_at = '2026-02-01Z' WHERE id <= 10; DELETE FROM items WHERE id > 2990",
    );
    expect(await plugin.triggerSync()).toMatchObject({ rowsInserted: 0, rowsUpdated: 10, rowsDeleted: 10 });
    expect(await instance.ask("SELECT count(*) AS n, sum(name = 'new') AS new FROM items")).toEqual([[2_990, 10]]);
    await instance.ask("UPDATE items SET name = 'damaged' WHERE id = 500");
    expect((await plugin.verify([], { repair: true })).tables.items).toMatchObject({ different: 1, repaired: 1 });
    expect((await plugin.verify()).tables.items).toMatchObject({ rows: 2_990, missing: 0, extra: 0, different: 0 });
    expect(await plugin.getSyncStatus()).toMatchObject({
      isRunning: false,
      tableMap: { items: { recordCount: 2_990 } },
    });
    await plugin.resetSyncState();
    expect(await plugin.triggerSync()).toMatchObject({ rowsRead: 2_990, rowsInserted: 0, rowsUpdated: 0 });
    expect(await instance.ask("SELECT name FROM sqlite_schema WHERE type = 'view'")).toEqual([]);
    expect(told.text).not.toContain(instance.target.token);
  });

  test('a deployed StarbaseDB from the command line', async () => {
    await using instance = deployed();
    await world.items(20);
    const { host, port, user, password, database } = world.database.source;
    const { url, token } = instance.target;
    const variables = { TYPE: 'postgresql', HOST: host, PORT: port, USER: user, PASS: password, DATABASE: database };
    const env = Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [`EXTERNAL_DB_${name}`, `${value}`]),
    );
    const cli = (...args: string[]) =>
      spawnSync(process.execPath, [join(root, 'cli.js'), ...args, '--target-url', url], {
        cwd: world.folder.path,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, ...env, DATA_SYNC_TARGET_TOKEN: token },
      });
    expect(cli('sync')).toMatchObject({ status: 0, stdout: expect.stringContaining('1 table in sync') });
    expect(cli('status').stdout).toMatch(/items +incremental +incremental +20 /);
    expect(cli('doctor')).toMatchObject({ status: 0, stdout: expect.stringMatching(/ok +target +1 table was synced/) });
    expect(await instance.ask('SELECT count(*) AS n FROM items')).toEqual([[20]]);
  });

  test('who refuses the token is told', async () => {
    await using instance = deployed();
    const { error } = await world.fail({ target: { ...instance.target, token: 'nobody-has-this-one' } });
    expect(error).toMatchObject({ code: 'AUTH', message: expect.stringContaining('target StarbaseDB') });
    expect(error.message).not.toContain('nobody-has-this-one');
  });
});
