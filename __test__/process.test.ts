import { Child, pluginOf, root, syncInChild } from './support/child.js';
import { Gate, onEveryServer, rejection } from './support/world.js';

onEveryServer((world) => {
  const WIDTH = 100;

  /** A load that stands still before its last fifth. */
  const gated = (rows: number, gate: boolean) => ({
    ...world.options({
      batch_size: WIDTH,
      tables: [{ name: 'items', mode: 'full', where: gate ? Gate.filter(`id > ${rows * 0.8}`) : 'true' }],
    }),
    log_level: 'silent' as const,
  });

  /** Checks what a process left in the middle of a load, then completes it. */
  async function complete(rows: number, options = gated(rows, true)): Promise<void> {
    const { plugin } = world.sync(options);
    const status = await plugin.getSyncStatus();
    const left = world.count('items');
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(rows);
    expect(left % WIDTH).toBe(0);
    expect(status).toMatchObject({
      isRunning: false,
      tableMap: { items: { phase: 'snapshot', recordCount: left, lastValue: String(left) } },
    });
    expect((await plugin.triggerSync()).rowsInserted).toBe(rows - left);
    await world.expectSame('items');
    await plugin.stop();
  }

  test('killed in the middle of a load', async () => {
    await world.items(2000);
    const gate = await Gate.shut(world);
    const child = new Child(
      `const plugin = ${pluginOf(gated(2000, true))};
       plugin.once('progress', () => tell('loading'));
       plugin.triggerSync();`,
    );
    // The server is at the gate long before the first rows are written: they fit into the buffers between.
    await child.line();
    await gate.reached();
    child.process.kill('SIGKILL');
    expect(await child.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    await gate.open();
    await complete(2000);
  });

  test('killed again and again, wherever it is', async () => {
    await world.items(4000);
    const options = { ...gated(4000, false), batch_size: 10 };
    let [kills, rows] = [0, 0];
    for (const delay of [0, 15, 40, 80]) {
      const child = new Child(
        `const plugin = ${pluginOf(options)};
         plugin.on('tableStart', () => tell('loading'));
         plugin.triggerSync().then(() => process.exit(0));`,
      );
      await child.line();
      await new Promise((resolve) => setTimeout(resolve, delay));
      child.process.kill('SIGKILL');
      kills += (await child.ended).signal === 'SIGKILL' ? 1 : 0;
      const { tableMap } = await world.sync(options).plugin.getSyncStatus();
      const count = tableMap.items?.recordCount ?? 0;
      if (count > 0) expect(world.count('items')).toBe(count);
      expect(count % 10).toBe(0);
      expect(count).toBeGreaterThanOrEqual(rows);
      rows = count;
    }
    expect(kills).toBeGreaterThan(0);
    await world.run(options);
    await world.expectSame('items');
  });

  test('ended by process.exit in the middle of a load', async () => {
    await world.items(2000);
    const gate = await Gate.shut(world);
    const child = new Child(
      `const plugin = ${pluginOf(gated(2000, true))};
       plugin.triggerSync();
       process.once('SIGUSR2', () => process.exit(3));
       plugin.once('progress', () => tell('loading'));`,
    );
    await child.line();
    await gate.reached();
    child.process.kill('SIGUSR2');
    expect(await child.ended).toMatchObject({ code: 3, signal: null, stderr: '' });
    await gate.open();
    await complete(2000);
  });

  test('a load in a Worker that is terminated ends no process', async () => {
    await world.items(2000);
    const gate = await Gate.shut(world);
    const code = `
      const { parentPort, workerData: { root, options } } = require('node:worker_threads');
      const plugin = new (require(root).DataSyncPlugin)(options);
      plugin.once('progress', () => parentPort.postMessage('loading'));
      plugin.triggerSync().then((stats) => parentPort.postMessage(stats));`;
    const child = new Child(
      `const { Worker } = require('node:worker_threads');
       const workerData = { root: ${JSON.stringify(root)}, options: ${JSON.stringify(gated(2000, true))} };
       const worker = new Worker(${JSON.stringify(code)}, { eval: true, workerData });
       worker.on('message', tell);
       process.once('SIGUSR2', async () => tell({ terminated: await worker.terminate() }));`,
    );
    expect(await child.line()).toBe('loading');
    await gate.reached();
    child.process.kill('SIGUSR2');
    expect(await child.line()).toEqual({ terminated: 1 });
    expect(await child.ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    await gate.open();
    await complete(2000);
  });

  test('a load in a Worker that is left alone', async () => {
    await world.items(300);
    const code = `
      const { parentPort, workerData: { root, options } } = require('node:worker_threads');
      new (require(root).DataSyncPlugin)(options).triggerSync().then((stats) => parentPort.postMessage(stats));`;
    const child = new Child(
      `const { Worker } = require('node:worker_threads');
       const workerData = { root: ${JSON.stringify(root)}, options: ${JSON.stringify(gated(300, false))} };
       new Worker(${JSON.stringify(code)}, { eval: true, workerData }).on('message', tell);`,
    );
    expect(await child.line()).toMatchObject({ rowsInserted: 300 });
    expect(await child.ended).toMatchObject({ code: 0, stderr: '' });
    await world.expectSame('items');
  });

  test('a pending trigger keeps the process alive, and nothing does after it', async () => {
    await world.items(300);
    const child = new Child(
      `${pluginOf(gated(300, false))}.triggerSync().then(() => process.on('exit', () => tell('done')));`,
    );
    expect(await child.ended).toMatchObject({ code: 0, stdout: '"done"\n', stderr: '' });
    await world.expectSame('items');
  });

  test('two processes on one target take turns', async () => {
    await world.items(1000);
    const options = gated(1000, false);
    const both = await Promise.all([
      syncInChild<{ rowsInserted: number }>(options),
      syncInChild<{ rowsInserted: number }>(options),
    ]);
    expect(both.map(({ rowsInserted }) => rowsInserted).sort()).toEqual([0, 1000]);
    await world.expectSame('items');
  });

  test('a file that other processes read and write during a load', async () => {
    await world.items(3000);
    await world.run({ tables: [{ name: 'items', where: 'id <= 10' }] });
    const other = (work: string) =>
      new Child(
        `const database = new (require('better-sqlite3'))(${JSON.stringify(world.path)}, { timeout: 5000 });
         ${work}
         let [rounds, ended] = [0, false];
         const round = () => {
           work();
           rounds += 1;
           if (ended) tell(rounds); else setImmediate(round);
         };
         process.once('SIGUSR2', () => { ended = true; });
         tell('ready');
         round();`,
      );
    // The reader sees one moment for as long as its transaction lasts; the writer has a table of its own.
    const reader = other(
      `database.exec('BEGIN');
       const count = database.prepare('SELECT count(*) AS rows FROM items').pluck();
       const first = count.get();
       const work = () => { if (count.get() !== first) throw new Error('The snapshot moved'); };`,
    );
    const writer = other(
      `database.exec('CREATE TABLE own (n INTEGER PRIMARY KEY)');
       const insert = database.prepare('INSERT INTO own DEFAULT VALUES');
       const work = () => insert.run();`,
    );
    expect([await reader.line(), await writer.line()]).toEqual(['ready', 'ready']);
    const { stats } = await world.run({ batch_size: 50, tables: [{ name: 'items', where: 'true' }] });
    expect(stats.rowsInserted).toBe(2990);
    for (const child of [reader, writer]) child.process.kill('SIGUSR2');
    expect(await reader.line()).toBeGreaterThan(0);
    const written = await writer.line();
    for (const child of [reader, writer]) expect(await child.ended).toMatchObject({ code: 0, stderr: '' });
    expect(world.count('own')).toBe(written);
    await world.expectSame('items');
  });

  test('a failure in one process is seen from another', async () => {
    await world.items(3);
    await world.run();
    await world.query('ALTER TABLE items ADD extra int');
    const options = { ...world.options({ schema_drift: 'fail' }), log_level: 'silent' as const };
    const fault = await syncInChild<{ code: string; message: string }>(options);
    expect(fault.code).toBe('SCHEMA');
    const { tableMap } = await world.sync().plugin.getSyncStatus();
    expect(tableMap.items?.lastError).toBe(fault.message);
    expect((await rejection(world.sync(options).plugin.triggerSync())).code).toBe('SCHEMA');
  });
});
