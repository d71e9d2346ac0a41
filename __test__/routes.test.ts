import type { DataSyncOptions, RegisterOptions } from '../index.js';
import { App } from './support/app.js';
import { onEveryServer, rejection, type Sync, until } from './support/world.js';

const TOKEN = 'a-token-of-the-test';
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const JSON_TYPE = { 'content-type': 'application/json' };

onEveryServer((world) => {
  let app: App;
  let base: string;
  let sync: Sync;

  /** Mounts a plugin whose own schedule does nothing after its first run. */
  async function mounted(options: DataSyncOptions = {}, register: RegisterOptions = { token: TOKEN }) {
    sync = world.sync({ sync_interval: 600, ...options });
    app = new App();
    await sync.plugin.register(app.app, register);
    base = `${await app.listen()}/data-sync`;
    await until(() => sync.told.outline.some((name) => name === 'syncComplete' || name === 'syncError'));
  }
  afterEach(() => app.close());

  const get = (path: string, headers: Record<string, string> = AUTHORIZED) => fetch(`${base}${path}`, { headers });
  const post = (path: string, body: unknown = {}, headers: Record<string, string> = AUTHORIZED) =>
    fetch(`${base}${path}`, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(body) });

  /** The events of a stream as they come. */
  async function* events(signal: AbortSignal) {
    const response = await fetch(`${base}/events`, { headers: AUTHORIZED, signal });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    let rest = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      const messages = (rest + Buffer.from(chunk)).split('\n\n');
      rest = messages.pop() as string;
      for (const message of messages) {
        const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(message) ?? [];
        if (name) yield { name, data: JSON.parse(data as string) };
        else expect(message).toMatch(/^: /);
      }
    }
  }

  test('status, sync, verify and reset', async () => {
    await world.items(50);
    await mounted();
    const status = await get('/status');
    expect(status.headers.get('cache-control')).toBe('no-store');
    expect(await status.json()).toEqual(await sync.plugin.getSyncStatus());
    await world.query("INSERT INTO items VALUES (51, 'new', now())");
    expect(await (await post('/sync', { tables: ['items'], dryRun: true })).json()).toMatchObject({
      tables: { items: { mode: 'incremental' } },
    });
    expect(await (await post('/sync', { tables: ['items'] })).json()).toMatchObject({ rowsInserted: 1 });
    expect(await (await post('/verify')).json()).toMatchObject({ tables: { items: { rows: 51, missing: 0 } } });
    expect(await (await post('/reset', { table: 'items' })).json()).toEqual({ reset: 'items' });
    expect((await sync.plugin.getSyncStatus()).tableMap.items?.lastValue).toBeNull();
    const accepted = await post('/sync?wait=false');
    expect([accepted.status, await accepted.json()]).toEqual([202, { accepted: true }]);
    await until(async () => (await sync.plugin.getSyncStatus()).tableMap.items?.lastValue !== null);
    await world.expectSame('items');
  });

  test('nobody is let in by accident', async () => {
    await world.items(1);
    await mounted();
    const routes: [string, (headers: Record<string, string>) => Promise<Response>][] = [
      ...['/status', '/events', '/metrics'].map((path): [string, (h: Record<string, string>) => Promise<Response>] => [
        path,
        (headers) => get(path, headers),
      ]),
      ...['/sync', '/verify', '/reset'].map((path): [string, (h: Record<string, string>) => Promise<Response>] => [
        path,
        (headers) => post(path, {}, headers),
      ]),
    ];
    for (const [path, ask] of routes) {
      expect([path, (await ask({})).status]).toEqual([path, 401]);
      for (const wrong of [`${TOKEN}x`, TOKEN.slice(1), 'undefined']) {
        expect([path, (await ask({ authorization: `Bearer ${wrong}` })).status]).toEqual([path, 403]);
      }
    }
    await app.close();
    // Neither a token nor StarbaseDB in front.
    await mounted({}, {});
    for (const [path, ask] of routes) expect([path, (await ask(AUTHORIZED)).status]).toEqual([path, 403]);
    expect(await (await get('/status')).json()).toMatchObject({
      error: { message: expect.stringContaining('register(app, { token })') },
    });
    // The page itself shows nothing.
    expect((await get('', {})).status).toBe(200);
  });

  test("behind StarbaseDB's auth the admin's token counts, and no other", async () => {
    await world.items(1);
    sync = world.sync({ sync_interval: 600 });
    app = new App();
    let role = 'client';
    app.app.use('*', async (c, next) => {
      c.set('config', { role });
      return next();
    });
    await sync.plugin.register(app.app);
    // Twice is once.
    await sync.plugin.register(app.app);
    base = `${await app.listen()}/data-sync`;
    expect((await get('/status')).status).toBe(403);
    expect((await post('/reset')).status).toBe(403);
    role = 'admin';
    expect((await get('/status')).status).toBe(200);
  });

  test('an app decides by itself', async () => {
    await world.items(1);
    await mounted({}, { authorize: async (c) => c.req.header('x-user') === 'ada' });
    expect((await get('/status', { 'x-user': 'bob' })).status).toBe(403);
    expect((await get('/status', { 'x-user': 'ada' })).status).toBe(200);
    await app.close();
    const thrown = () => {
      throw new Error('secret words');
    };
    await mounted({}, { authorize: thrown });
    const answer = await get('/status');
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('secret');
    await app.close();
    // Only true is true.
    await mounted({}, { authorize: (() => 'yes') as unknown as () => boolean });
    expect((await get('/status')).status).toBe(403);
  });

  test('what register is given is checked', async () => {
    const { plugin } = world.sync({ enabled: false });
    app = new App();
    const cases: [unknown, RegExp][] = [
      [{ token: '' }, /'token' is an empty string/],
      [{ token: 7 }, /'token' is a number/],
      [{ authorize: 'x' }, /'authorize' is a string/],
      [{ token: 'x', authorize: () => true }, /exclude each other/],
      [{ tokens: 'x' }, /Unknown option 'tokens'/],
      ['x', /'options' is a string/],
    ];
    for (const [options, message] of cases) {
      await expect(plugin.register(app.app, options as RegisterOptions)).rejects.toThrow(message);
    }
  });

  test('requests that can not be taken are told', async () => {
    await world.items(1);
    await mounted();
    const cases: [Promise<Response>, number, RegExp][] = [
      [post('/sync', { table: 'items' }), 400, /Unknown member 'table'; it takes tables, dryRun/],
      [post('/sync', { tables: 'items' }), 400, /'tables' takes an array/],
      [post('/verify', { repair: 1 }), 400, /'repair' takes true or false/],
      [post('/reset', { table: '' }), 400, /'table' takes a table's name/],
      [post('/reset', { table: 'nowhere' }), 404, /no sync state/],
      [post('/sync', { tables: ['nowhere'] }), 404, /nowhere/],
      [post('/sync', []), 400, /JSON object/],
      [post('/sync', { tables: ['x'.repeat(70_000)] }), 413, /larger than 64 KB/],
      [fetch(`${base}/sync`, { method: 'POST', headers: AUTHORIZED, body: '{}' }), 415, /application\/json/],
      [fetch(`${base}/sync`, { method: 'POST', headers: { ...AUTHORIZED, ...JSON_TYPE }, body: '{' }), 400, /not JSON/],
    ];
    for (const [asked, status, message] of cases) {
      const answer = await asked;
      const { error } = (await answer.json()) as { error: { message: string } };
      expect(error.message).toMatch(message);
      expect(answer.status).toBe(status);
    }
    expect((await get('/sync')).status).toBe(404);
  });

  test('a failed run is told with its code, and no secret', async () => {
    await world.items(1);
    await mounted({ tables: ['items'] });
    await world.query('ALTER TABLE items RENAME TO gone');
    const answer = await post('/sync');
    const text = await answer.text();
    expect(answer.status).toBe(404);
    expect(JSON.parse(text)).toMatchObject({
      error: { code: 'TABLE_NOT_FOUND', table: 'items', retryable: false, errors: [{ table: 'items' }] },
    });
    expect(text).not.toContain(world.database.source.password);
    expect(await (await post('/sync', { dryRun: true })).json()).toMatchObject({
      error: { code: 'TABLE_NOT_FOUND', stats: null, errors: [{ table: 'items' }], plan: { dryRun: true, tables: {} } },
    });
    expect(await (await get('/metrics')).text()).toContain('data_sync_errors_total{code="TABLE_NOT_FOUND"} 1');
  });

  test('events come as they happen, and nobody listens once the reader is gone', async () => {
    await world.items(20_000);
    await mounted({ batch_size: 100 });
    const before = sync.plugin.listenerCount('progress');
    const end = new AbortController();
    const stream = events(end.signal);
    const first = stream.next();
    await until(() => sync.plugin.listenerCount('progress') > before);
    await sync.plugin.resetSyncState();
    const run = post('/sync');
    const names = new Set<string>();
    for (let { value } = await first; value; { value } = await stream.next()) {
      names.add(value.name);
      if (value.name === 'syncComplete') {
        expect(value.data).toMatchObject({ rowsRead: 20_000 });
        break;
      }
    }
    await run;
    // Progress is told at most ten times a second, and a quick run has none.
    expect([...names]).toEqual(
      expect.arrayContaining(['syncStart', 'tableStart', 'tableComplete', 'log', 'syncComplete']),
    );
    end.abort();
    await until(() => sync.plugin.listenerCount('progress') === before);
  });

  test('who asks for the head of the events alone reads none of them', async () => {
    await world.items(1);
    await mounted();
    const before = sync.plugin.listenerCount('progress');
    const head = await fetch(`${base}/events`, { method: 'HEAD', headers: AUTHORIZED });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(sync.plugin.listenerCount('progress')).toBe(before);
  });

  test('a body that another part of the app has read counts all the same', async () => {
    await world.items(1);
    sync = world.sync({ sync_interval: 600 });
    app = new App();
    app.app.use('*', async (c, next) => {
      await c.req.json();
      return next();
    });
    await sync.plugin.register(app.app, { token: TOKEN });
    base = `${await app.listen()}/data-sync`;
    await until(() => sync.told.outline.includes('syncComplete'));
    expect(await (await post('/reset', { table: 'items' })).json()).toEqual({ reset: 'items' });
    expect((await post('/sync', { tables: ['x'.repeat(70_000)] })).status).toBe(413);
    expect((await post('/sync', { tables: 'items' })).status).toBe(400);
  });

  test('a reader who reads nothing holds up no run and no memory', async () => {
    await world.items(10);
    await mounted();
    const end = new AbortController();
    const readers = await Promise.all(
      Array.from({ length: 100 }, () => fetch(`${base}/events`, { headers: AUTHORIZED, signal: end.signal })),
    );
    expect(readers.every(({ status }) => status === 200)).toBe(true);
    expect((await get('/events')).status).toBe(503);
    for (let run = 0; run < 5; run++) expect((await post('/sync')).status).toBe(200);
    end.abort();
    await until(async () => {
      const again = await get('/events');
      await again.body?.cancel();
      return again.status === 200;
    });
  });

  test('metrics', async () => {
    const name = 'od"d\\na\nme';
    await world.query(
      `CREATE TABLE "od""d\\na\nme" (id int PRIMARY KEY, updated_at timestamptz); INSERT INTO "od""d\\na\nme" VALUES (1, now()), (2, NULL)`,
    );
    await mounted({ tables: [name] });
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await answer.text();
    const lines = text.trimEnd().split('\n');
    const families = new Set<string>();
    for (const line of lines) {
      const [, help] = /^# HELP (data_sync_[a-z_]+) .+\.$/.exec(line) ?? [];
      const [, type] = /^# TYPE (data_sync_[a-z_]+) (?:gauge|counter)$/.exec(line) ?? [];
      const [, sample] =
        /^(data_sync_[a-z_]+)(?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.exec(
          line,
        ) ?? [];
      if (help) families.add(help);
      else expect(families).toContain(type ?? sample);
    }
    const table = 'table="od\\"d\\\\na\\nme"';
    expect(lines).toEqual(
      expect.arrayContaining([
        'data_sync_running 0',
        'data_sync_runs_total{outcome="complete"} 1',
        `data_sync_table_rows{${table}} 2`,
        `data_sync_table_untracked_rows{${table}} 1`,
        `data_sync_table_failed{${table}} 0`,
        `data_sync_rows_total{${table},action="inserted"} 2`,
      ]),
    );
    const lag = Number(/^data_sync_lag_seconds (.+)$/m.exec(text)?.[1]);
    expect(lag).toBeGreaterThanOrEqual(0);
    expect(lag).toBeLessThan(60);
  });

  test('the time from a run that was ended to one that could not begin is no run', async () => {
    await world.items(10);
    await mounted({ retry: { attempts: 1 } });
    const ending = new AbortController();
    sync.plugin.once('syncStart', () => ending.abort());
    expect((await rejection(sync.plugin.triggerSync(undefined, { signal: ending.signal }))).code).toBe('ABORTED');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await world.query('UPDATE pg_database SET datallowconn = false WHERE datname = current_database()');
    // Where the end came between two statements, the connection was kept.
    await world.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
    );
    expect((await post('/sync')).status).toBe(502);
    const text = await (await get('/metrics')).text();
    expect(text).toContain('data_sync_runs_total{outcome="failed"} 1');
    expect(Number(/^data_sync_last_run_duration_seconds (.+)$/m.exec(text)?.[1])).toBeLessThan(3);
  });
});
