import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DataSyncOptions, SyncStats } from '../index.js';
import { Child, syncInChild } from './support/child.js';
import { onEveryServer, type World } from './support/world.js';

interface Fault {
  code: string;
  message: string;
}

onEveryServer((world) => {
  /** The source's variables, of which some may be replaced. */
  const variables = (changes: Record<string, string | number> = {}) => {
    const { host, port, user, password, database } = world.database.source;
    return {
      EXTERNAL_DB_TYPE: 'postgresql',
      EXTERNAL_DB_HOST: host,
      EXTERNAL_DB_PORT: Number(port),
      EXTERNAL_DB_USER: user,
      EXTERNAL_DB_PASS: password as string,
      EXTERNAL_DB_DATABASE: database,
      ...changes,
    };
  };
  const wrong = { EXTERNAL_DB_HOST: 'wrong.invalid' };
  const toml = (values: object) =>
    Object.entries(values)
      .map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
      .join('\n');

  /** A sync without the option `source`, in a process of its own whose directory holds these files. */
  async function syncAmong<Told = SyncStats>(
    files: Record<string, string>,
    { options = {}, env = {} }: { options?: DataSyncOptions; env?: Record<string, string | number> } = {},
  ): Promise<Told> {
    const cwd = directory(world);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
    const texts = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)]));
    return syncInChild<Told>({ database: world.path, retry: { attempts: 1 }, ...options }, { cwd, env: texts });
  }

  beforeEach(() => world.items(3));

  const places: [place: string, files: () => Record<string, string>, more?: () => object][] = [
    ['the environment', () => ({}), () => ({ env: variables() })],
    ['.dev.vars', () => ({ '.dev.vars': toml(variables()) })],
    ['[vars] of wrangler.toml', () => ({ 'wrangler.toml': `name = "app"\n[vars]\n${toml(variables())}` })],
    ['the top level of wrangler.toml', () => ({ 'wrangler.toml': `name = "app"\n${toml(variables())}` })],
    ['wrangler.json', () => ({ 'wrangler.json': JSON.stringify({ vars: variables() }) })],
    ['wrangler.jsonc', () => ({ 'wrangler.jsonc': `{ // ours\n "vars": ${JSON.stringify(variables())}, }` })],
    [
      'the environment of the option environment',
      () => ({ 'wrangler.toml': `[vars]\n${toml(variables(wrong))}\n[env.staging.vars]\n${toml(variables())}` }),
      () => ({ options: { environment: 'staging' } }),
    ],
    [
      'the file of the option config',
      () => ({ 'wrangler.toml': toml(variables(wrong)), 'other.json': JSON.stringify(variables()) }),
      () => ({ options: { config: './other.json' } }),
    ],
    [
      'secrets in .dev.vars beside the rest in a wrangler file',
      () => {
        const { EXTERNAL_DB_PASS, ...rest } = variables();
        return { '.dev.vars': toml({ EXTERNAL_DB_PASS }), 'wrangler.toml': toml(rest) };
      },
    ],
    [
      'the environment before .dev.vars before wrangler.toml',
      () => ({
        '.dev.vars': toml({ EXTERNAL_DB_HOST: 'wrong.invalid', EXTERNAL_DB_PORT: world.database.source.port }),
        'wrangler.toml': toml(variables({ EXTERNAL_DB_PORT: 1 })),
      }),
      () => ({ env: { EXTERNAL_DB_HOST: world.database.source.host } }),
    ],
  ];

  test.each(places.map(([place, files, more]) => ({ place, files, more })))('the source from $place', async (where) => {
    expect(await syncAmong(where.files(), where.more?.())).toMatchObject({ rowsInserted: 3 });
    await world.expectSame('items');
  });

  test('the option source stands above all of them', async () => {
    const env = variables(wrong);
    const options = { source: world.database.source };
    expect(await syncAmong({ '.dev.vars': toml(env) }, { env, options })).toMatchObject({ rowsInserted: 3 });
  });

  test('a default schema', async () => {
    await world.query('CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY)');
    const stats = await syncAmong({}, { env: variables({ EXTERNAL_DB_DEFAULT_SCHEMA: 'shop' }) });
    expect(Object.keys(stats.tables)).toEqual(['orders']);
  });

  test('a URL as the option source', async () => {
    const { stats } = await world.run({ source: { type: 'postgresql', url: world.database.url } });
    expect(stats.rowsInserted).toBe(3);
  });

  test('what is missing is one error that names all of it', async () => {
    const { EXTERNAL_DB_USER: _user, EXTERNAL_DB_DATABASE: _database, ...env } = variables();
    const { code, message } = await syncAmong<Fault>({}, { env });
    expect(code).toBe('CONFIG');
    expect(message).toContain('EXTERNAL_DB_USER, EXTERNAL_DB_DATABASE');
    const nothing = await syncAmong<Fault>({});
    expect(nothing).toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/^No external database is configured/),
    });
    const odd = await syncAmong<Fault>({}, { env: variables({ EXTERNAL_DB_TYPE: 'oracle' }) });
    expect(odd).toMatchObject({ code: 'CONFIG', message: expect.stringMatching(/^EXTERNAL_DB_TYPE got 'oracle'/) });
  });

  test('the target from $STARBASEDB_DATABASE, else ./starbasedb.sqlite', async () => {
    const [named, cwd] = [world.folder.fresh(), directory(world)];
    const options: DataSyncOptions = { source: world.database.source };
    await syncInChild(options, { cwd, env: { STARBASEDB_DATABASE: named } });
    await world.expectSame('items', { path: named });
    await syncInChild(options, { cwd });
    await world.expectSame('items', { path: join(cwd, 'starbasedb.sqlite') });
  });

  test('a Worker has an environment of its own', async () => {
    const env = Object.fromEntries(Object.entries(variables()).map(([name, value]) => [name, String(value)]));
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { DataSyncPlugin } = require(workerData.root);
      new DataSyncPlugin({ log_level: 'silent' }).triggerSync().then(
        (stats) => parentPort.postMessage(stats),
        ({ code, message }) => parentPort.postMessage({ code, message }));`;
    const child = new Child(
      `const { Worker } = require('node:worker_threads');
       const options = { eval: true, env: ${JSON.stringify({ ...env, STARBASEDB_DATABASE: world.path })},
         workerData: { root: ${JSON.stringify(join(__dirname, '..'))} } };
       new Worker(${JSON.stringify(code)}, options).on('message', tell);`,
      { cwd: directory(world), env: { STARBASEDB_DATABASE: world.folder.fresh() } },
    );
    expect(await child.line()).toMatchObject({ rowsInserted: 3 });
    await world.expectSame('items');
  });
});

function directory(world: World): string {
  const path = `${world.folder.fresh()}.d`;
  mkdirSync(path);
  return path;
}
