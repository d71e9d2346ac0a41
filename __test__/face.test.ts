import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { DataSyncError, type DataSyncOptions, DataSyncPlugin } from '../index.js';
import { ReplicaFolder } from './support/replica.js';

const root = join(__dirname, '..');
const folder = new ReplicaFolder();
afterAll(() => folder.remove());

/** A plugin whose source refuses every connection at once. */
const unreachable = (): DataSyncOptions => ({
  source: { type: 'postgresql', host: '127.0.0.1', port: 1, user: 'reader', password: 'hunter2', database: 'app' },
  database: folder.fresh(),
  retry: { attempts: 1 },
  log_level: 'error',
});

/** Runs a script in a Node of its own. */
function script(source: string, ...flags: string[]) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', source], {
    cwd: root,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stdout, stderr, duration: performance.now() - started };
}

const quiet = () => jest.spyOn(process.stderr, 'write').mockReturnValue(true);
afterEach(() => jest.restoreAllMocks());

async function rejection(promise: Promise<unknown>): Promise<DataSyncError> {
  return promise.then(
    () => Promise.reject(new Error('It resolved')),
    (error) => error,
  );
}

describe('the package', () => {
  const uses = 'new DataSyncPlugin().getSyncStatus().then((status) => console.log(typeof status.tableMap))';
  const elsewhere = `process.env.STARBASEDB_DATABASE = ${JSON.stringify(folder.fresh())};`;

  test.each([
    ['require', `${elsewhere} const { DataSyncPlugin } = require('@starbasedb/plugin-data-sync'); ${uses}`, []],
    [
      'import',
      `import Default, { DataSyncPlugin } from '@starbasedb/plugin-data-sync';
       ${elsewhere} if (Default !== DataSyncPlugin) throw new Error('another default'); ${uses}`,
      ['--input-type=module'],
    ],
    [
      'a Worker',
      `${elsewhere} const { Worker } = require('node:worker_threads');
       new Worker("const { DataSyncPlugin } = require('@starbasedb/plugin-data-sync'); ${uses}", { eval: true })`,
      [],
    ],
  ])('works by %s, and lets the process end', (_way, source, flags) => {
    expect(script(source, ...flags)).toMatchObject({ status: 0, stdout: 'object\n', stderr: '' });
  });

  test('a Worker that ends while its schedule runs harms nobody', () => {
    const options = JSON.stringify({ ...unreachable(), log_level: 'silent', retry: { attempts: 1000 } });
    const { status, stdout } = script(`
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(\`
        const { DataSyncPlugin } = require('./index.js');
        new DataSyncPlugin(${options}).start();
        setTimeout(() => process.exit(0), 200);\`, { eval: true });
      worker.on('exit', (code) => setTimeout(() => console.log('worker', code), 500));`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'worker 0\n' });
  });

  test('an idle plugin keeps no process alive, a started one does until it is stopped', () => {
    expect(script("new (require('./index.js').DataSyncPlugin)()")).toMatchObject({ status: 0, stderr: '' });
    const options = JSON.stringify({ ...unreachable(), log_level: 'silent' });
    const started = script(`
      const plugin = new (require('./index.js').DataSyncPlugin)(${options});
      plugin.start();
      setTimeout(() => plugin.stop().then(() => console.log('stopped')), 700).unref();`);
    expect(started).toMatchObject({ status: 0, stdout: 'stopped\n' });
    expect(started.duration).toBeGreaterThan(700);
  });

  test('a plugin that nobody holds is collected', () => {
    const { status, stdout } = script(
      `const { DataSyncPlugin } = require('./index.js');
       let plugin = new DataSyncPlugin();
       const reference = new WeakRef(plugin);
       plugin = null;
       setTimeout(() => { gc(); setTimeout(() => { gc(); console.log(reference.deref()); }, 50); }, 50);`,
      '--expose-gc',
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'undefined\n' });
  });

  test("speaks StarbaseDB's plugin protocol", async () => {
    const plugin = new DataSyncPlugin({ enabled: false, database: folder.fresh() });
    expect(plugin).toMatchObject({ name: 'dataSync', opts: { requiresAuth: true }, pathPrefix: '/data-sync' });
    await expect(plugin.register({ get() {} })).resolves.toBeUndefined();
    await expect(plugin.register()).resolves.toBeUndefined();
    await expect(plugin.register('app')).rejects.toThrow(TypeError);
    await plugin.stop();
  });
});

describe('errors', () => {
  test('are DataSyncErrors that name the caller, the same for the listener and the promise', async () => {
    quiet();
    const plugin = new DataSyncPlugin(unreachable());
    let told: DataSyncError | undefined;
    plugin.once('syncError', (error) => {
      told = error;
    });
    const error = await rejection(plugin.triggerSync());
    expect(error).toBeInstanceOf(DataSyncError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toBe(told);
    expect(error).toMatchObject({ name: 'DataSyncError', code: 'CONNECT', retryable: true, table: null });
    expect(error.message).toMatch(/^Failed to connect to external database: /);
    expect(error.message.endsWith(String(error.cause))).toBe(true);
    expect(error.stack).toContain('face.test.ts');
    expect(JSON.stringify(error) + error.stack).not.toContain('hunter2');
  });

  test('of a run without a listener are only logged', async () => {
    const write = quiet();
    const plugin = new DataSyncPlugin(unreachable());
    await rejection(plugin.triggerSync());
    expect(write.mock.calls.join('')).toContain('Data Sync Plugin: Failed to connect to external database');
  });

  test('silent means silent', async () => {
    const write = quiet();
    const plugin = new DataSyncPlugin({ ...unreachable(), log_level: 'silent' });
    plugin.on('syncError', () => {
      throw new Error('from the listener');
    });
    await rejection(plugin.triggerSync());
    expect(write).not.toHaveBeenCalled();
  });

  test('of a listener harm neither the others nor the run', async () => {
    const write = quiet();
    const plugin = new DataSyncPlugin(unreachable());
    const told: string[] = [];
    plugin.on('syncError', () => {
      throw new Error('from the first listener');
    });
    plugin.on('syncError', () => Promise.reject(new Error('from the second listener')));
    plugin.once('syncError', ({ code }) => told.push(code));
    expect(await rejection(plugin.triggerSync())).toMatchObject({ code: 'CONNECT' });
    expect(await rejection(plugin.triggerSync())).toMatchObject({ code: 'CONNECT' });
    expect(told).toEqual(['CONNECT']);
    const logged = write.mock.calls.join('');
    expect(logged).toContain("A listener for 'syncError' threw: Error: from the first listener");
    expect(logged).toContain("A listener for 'syncError' threw: Error: from the second listener");
  });
});

describe('arguments', () => {
  const plugin = new DataSyncPlugin(unreachable());
  const trigger = plugin.triggerSync.bind(plugin) as (...args: unknown[]) => Promise<unknown>;

  test.each([
    ['tables', ['users']],
    ['tables', [{ dryRun: true }]],
    ['tables[1]', [['users', 7]]],
    ['tables[0]', [['']]],
    ['options', [[], true]],
    ['timeout', [[], { timeout: 1 }]],
    ['dryRun', [[], { dryRun: 'yes' }]],
    ['signal', [[], { signal: 'abort' }]],
  ])('triggerSync names %s', async (name, args) => {
    const error = await rejection(trigger(...args));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`'${name}'`);
  });

  test.each([
    ['tables', ['users']],
    ['tables[0]', [[7]]],
    ['options', [[], 'repair']],
    ['dryRun', [[], { dryRun: true }]],
    ['repair', [{ repair: 1 }]],
    ['signal', [{ signal: {} }]],
  ])('verify names %s', async (name, args) => {
    const verify = plugin.verify.bind(plugin) as (...args: unknown[]) => Promise<unknown>;
    const error = await rejection(verify(...args));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`'${name}'`);
  });

  test('resetSyncState takes one name', async () => {
    const reset = plugin.resetSyncState.bind(plugin) as (...args: unknown[]) => Promise<unknown>;
    for (const table of [7, '', ['users']]) expect(await rejection(reset(table))).toBeInstanceOf(TypeError);
  });

  test('setLogLevel takes a level', () => {
    const set = plugin.setLogLevel.bind(plugin) as (level: unknown) => void;
    expect(() => set('verbose')).toThrow(RangeError);
    expect(() => set(3)).toThrow(TypeError);
    expect(() => set('warn')).not.toThrow();
  });

  test('a signal that has fired ends the call before it begins', async () => {
    const error = await rejection(plugin.triggerSync([], { signal: AbortSignal.abort() }));
    expect(error).toBeInstanceOf(DataSyncError);
    expect(error.code).toBe('ABORTED');
  });

  test('a signal is left alone once the call is over', async () => {
    quiet();
    const { signal } = new AbortController();
    await rejection(plugin.triggerSync([], { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});
