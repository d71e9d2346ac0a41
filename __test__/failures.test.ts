import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DataSyncErrorCode, DataSyncOptions } from '../index.js';
import { DataSyncError } from '../index.js';
import { Child, pluginOf, syncInChild } from './support/child.js';
import { Gate, onEveryServer, rejection, until } from './support/world.js';

interface Fault {
  code: DataSyncErrorCode;
  message: string;
}

onEveryServer((world) => {
  const once: DataSyncOptions = { retry: { attempts: 1 } };
  const source = (changes: object) => ({ ...once, source: { ...world.database.source, ...changes } });

  test.each<
    [what: string, options: () => DataSyncOptions, code: DataSyncErrorCode, message: RegExp, retryable: boolean]
  >([
    ['a closed port', () => source({ port: 1 }), 'CONNECT', /: connect ECONNREFUSED 127\.0\.0\.1:1$/, true],
    [
      'an unknown database',
      () => source({ database: 'nowhere' }),
      'CONNECT',
      /: database "nowhere" does not exist/,
      false,
    ],
    [
      'a wrong password',
      () => source({ password: 'wrong-secret' }),
      'AUTH',
      /: password authentication failed for user/,
      false,
    ],
    [
      'an unknown user',
      () => source({ user: 'nobody-here' }),
      'AUTH',
      /: password authentication failed for user/,
      false,
    ],
  ])('%s', async (_what, options, code, message, retryable) => {
    const { error, told } = await world.fail(options());
    expect(error).toBeInstanceOf(DataSyncError);
    expect(error).toMatchObject({ code, table: null, retryable, stats: null });
    expect(error.message).toMatch(/^Failed to connect to external database: /);
    expect(error.message).toMatch(message);
    expect(error.message.endsWith(error.cause as string)).toBe(true);
    expect(error.errors).toHaveLength(1);
    expect(told.outline).toEqual(['syncError']);
    expect(told.text + error.stack).not.toContain('wrong-secret');
  });

  test('an unknown host', async () => {
    const { error } = await world.fail(source({ host: 'nowhere.invalid' }));
    expect(error.code).toBe('CONNECT');
    // A machine without any name server says the second.
    expect(error.message).toMatch(
      /^Failed to connect to external database: getaddrinfo (ENOTFOUND|EAI_AGAIN) nowhere\.invalid$/,
    );
  });

  test('an address over HTTP that nobody is at', async () => {
    for (const source of [
      { type: 'turso', uri: 'libsql://nowhere.invalid', token: 'token-secret' },
      { type: 'starbasedb', uri: 'https://nowhere.invalid', token: 'token-secret' },
      { type: 'd1', url: 'https://nowhere.invalid', api_key: 'token-secret', account_id: 'a', database_id: 'd' },
    ] as const) {
      const { error, told } = await world.fail({ source });
      expect(error.message).toMatch(
        /^Failed to connect to external database: getaddrinfo (ENOTFOUND|EAI_AGAIN) nowhere\.invalid$/,
      );
      expect(error.code).toBe('CONNECT');
      expect(told.text).not.toContain('token-secret');
    }
  });

  test('a target that can not be reached', async () => {
    const target = await world.fail({
      target: { type: 'starbasedb', url: 'https://nowhere.invalid', token: 'token-secret' },
    });
    expect(target.error).toMatchObject({ code: 'CONNECT', message: expect.stringContaining('target StarbaseDB') });
    expect(target.told.text).not.toContain('token-secret');
  });

  test('a type that can not be stored so', async () => {
    await world.query('CREATE TABLE files (id int PRIMARY KEY, body bytea)');
    await world.items(2);
    const { error } = await world.fail({ type_map: { bytea: 'INTEGER' } });
    expect(error).toMatchObject({ code: 'TYPE_MAP', table: 'files', retryable: false });
    expect(error.message).toMatch(/^Cannot map external type 'bytea' to SQLite type: /);
    await world.expectSame('items');
  });

  test('a role that may not read a table', async () => {
    const role = `reader_${world.database.name}`;
    await world.items(3, 'open');
    await world.items(3, 'secret');
    await world.query(`CREATE ROLE ${role} LOGIN PASSWORD 'role-secret'; GRANT SELECT ON open TO ${role}`);
    try {
      const reader: DataSyncOptions = source({ user: role, password: 'role-secret' });
      const { error, told } = await world.fail({ ...reader, tables: ['secret', 'open'] });
      expect(error).toMatchObject({ code: 'SOURCE_READ', table: 'secret', retryable: false });
      expect(error.message).toMatch(/^Failed to read table 'secret' from external database: permission denied/);
      expect(error.message).toContain(`GRANT SELECT ON "public"."secret" TO "${role}"`);
      expect(error.stats?.tables.open?.rowsInserted).toBe(3);
      expect(told.text).not.toContain('role-secret');
      await world.query(`GRANT SELECT ON secret TO ${role}`);
      await world.run({ ...reader, tables: ['secret', 'open'] });
      await world.expectSame('secret');
      await world.expectSame('open');
    } finally {
      await world.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  test('no value of a row is in an error', async () => {
    await world.query("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'row-secret')");
    const { error, told } = await world.fail({ tables: [{ name: 't', where: 'name::int > 0' }] });
    expect(error).toMatchObject({ code: 'SOURCE_READ', table: 't' });
    expect(told.text).not.toContain('row-secret');
  });

  test('a target where no file can be', async () => {
    await world.items(2);
    const folder = `${world.folder.fresh()}.d`;
    mkdirSync(folder);
    writeFileSync(join(folder, 'text'), 'no database, but more than enough to be read as a header of one '.repeat(20));
    for (const [database, cause] of [
      [folder, 'it is a directory'],
      [join(folder, 'missing', 'replica.sqlite'), "can't be used"],
      [join(folder, 'text', 'replica.sqlite'), "can't be used"],
      [join(folder, 'text'), 'name a SQLite file'],
    ] as const) {
      const { error, told } = await world.fail({ database });
      expect(error).toMatchObject({ code: 'TARGET_WRITE', retryable: false });
      expect(error.message.startsWith(`Failed to open target database '${database}': `)).toBe(true);
      expect(error.message).toContain(cause);
      expect(told.outline).toEqual(['syncError']);
    }
  });

  test('a read-only target, by a process that is not root', async () => {
    await world.items(2);
    const folder = `${world.folder.fresh()}.d`;
    mkdirSync(folder);
    chmodSync(world.folder.path, 0o755);
    const database = join(folder, 'replica.sqlite');
    await world.run({ database });
    const elsewhere = async () => {
      const child = new Child(
        `const plugin = ${pluginOf({ ...world.options({ database }), log_level: 'silent' })};
         if (process.getuid() === 0) { process.setgid(65534); process.setuid(65534); }
         plugin.triggerSync().then(tell, (error) => tell(fault(error)));`,
      );
      return child.line<Fault>();
    };
    chmodSync(`${database}-data-sync.lock`, 0o666);
    if (process.getuid?.() === 0) {
      // What was made here is for its owner alone.
      expect((await elsewhere()).message).toMatch(
        /^Failed to open target database .*needs the right to read and write/,
      );
    }
    for (const file of ['', '-wal', '-shm']) chmodSync(`${database}${file}`, 0o444);
    chmodSync(folder, 0o555);
    const { code, message } = await elsewhere();
    chmodSync(folder, 0o755);
    for (const file of ['', '-wal', '-shm']) chmodSync(`${database}${file}`, 0o644);
    expect(code).toBe('TARGET_WRITE');
    expect(message).toMatch(/^Failed to open target database .*read-only/);
    await world.run({ database });
    await world.expectSame('items', { path: database });
  });

  test('a full disk, and the next run completes', async () => {
    await world.items(20_000);
    const options = { ...world.options({ batch_size: 500, ...once }), log_level: 'silent' as const };
    // In blocks of 512 or 1024 bytes, by the shell: of the rows' 5 MB neither takes all.
    const shell = `trap '' XFSZ; ulimit -f 2048; exec "$@"`;
    const fault = await syncInChild<Fault>(options, { shell });
    expect(fault).toMatchObject({ code: 'TARGET_WRITE', table: 'items', retryable: false });
    expect(fault.message).toMatch(/^Failed to write to table 'items': /);
    const before = world.count('items');
    expect(before).toBeGreaterThan(0);
    expect(before % 500).toBe(0);
    const { plugin } = world.sync();
    expect((await plugin.getSyncStatus()).tableMap.items?.recordCount).toBe(before);
    expect((await plugin.triggerSync()).rowsInserted).toBe(20_000 - before);
    await world.expectSame('items');
  });

  test('a target that another program keeps locked', async () => {
    await world.items(3);
    await world.run();
    await world.query("INSERT INTO items VALUES (4, 'late', now())");
    const other = new Child(
      `const database = new (require('better-sqlite3'))(${JSON.stringify(world.path)});
       database.exec('BEGIN IMMEDIATE');
       tell('locked');
       setInterval(() => {}, 1000);`,
    );
    await other.line();
    const { plugin } = world.sync(once);
    plugin.on('log', ({ level }) => level === 'error' && other.process.kill());
    const error = await rejection(plugin.triggerSync());
    await plugin.stop();
    await other.ended;
    expect(error).toMatchObject({ code: 'TARGET_BUSY', table: 'items', retryable: true });
    expect(error.message).toMatch(/^Failed to write to table 'items': database is locked: /);
    await world.run();
    await world.expectSame('items');
  });

  test('a target that another process syncs to', async () => {
    await world.items(500);
    const gate = await Gate.shut(world);
    const options: DataSyncOptions = { tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 400') }] };
    const child = new Child(
      `${pluginOf({ ...world.options(options), log_level: 'silent' })}.triggerSync().then(tell, (error) => tell(fault(error)));`,
    );
    await gate.reached();
    const { error } = await world.fail({ ...options, ...once, connect_timeout: 0.1 });
    expect(error).toMatchObject({ code: 'TARGET_BUSY', retryable: true });
    expect(error.message).toMatch(/^Another sync is writing to this database: /);
    const { plugin } = world.sync(options);
    expect((await plugin.getSyncStatus()).isRunning).toBe(true);
    const turn = plugin.triggerSync();
    await gate.open();
    expect(await child.line()).toMatchObject({ rowsInserted: 500 });
    expect(await turn).toMatchObject({ rowsInserted: 0, rowsUpdated: 0 });
    await world.expectSame('items');
  });

  test('another source than the one that the target is a replica of', async () => {
    await world.items(3);
    await world.run();
    const other = `${world.database.name}_other`;
    await world.query(`CREATE DATABASE ${other}`);
    try {
      const { plugin } = world.sync({ source: { ...world.database.source, database: other } });
      const error = await rejection(plugin.triggerSync());
      expect(error).toMatchObject({ code: 'SOURCE_CHANGED', table: null, retryable: false });
      expect(error.message).toMatch(/^The target holds a replica of another source: .*resetSyncState\(\)/);
      await plugin.resetSyncState();
      await plugin.triggerSync();
      expect(world.count('items')).toBe(3);
      await plugin.stop();
    } finally {
      await world.query(`DROP DATABASE ${other} WITH (FORCE)`);
    }
  });

  test('an abort before, while it waits, while it runs, and of a plan', async () => {
    await world.items(500);
    const gate = await Gate.shut(world);
    const { plugin, told } = world.sync({
      batch_size: 100,
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 400') }],
    });
    const run = (signal: AbortSignal, dryRun = false) =>
      rejection(plugin.triggerSync([], { signal, dryRun: dryRun as false }));
    expect(await run(AbortSignal.abort(new Error('too late')))).toMatchObject({ code: 'ABORTED', cause: 'too late' });
    expect(await run(AbortSignal.abort(), true)).toMatchObject({ code: 'ABORTED' });
    expect(told.events).toEqual([]);

    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = run(running.signal);
    await gate.reached();
    const [second, other] = [run(waiting.signal), plugin.triggerSync()];
    waiting.abort();
    expect(await second).toMatchObject({ code: 'ABORTED', retryable: false });
    running.abort();
    const error = await first;
    expect(error).toMatchObject({ code: 'ABORTED', retryable: false });
    expect(error.message).toMatch(/^The sync was aborted/);
    expect(error.stats?.tables.items?.rowsRead).toBeGreaterThan(0);
    expect(told.of('syncError')).toEqual([error]);
    // Whoever still wants a run gets it, and it goes on where the aborted one stopped.
    await gate.open();
    expect((await other).rowsInserted).toBe(500 - (error.stats?.rowsInserted ?? 0));
    expect(told.outline.filter((name) => name === 'syncError' || name === 'syncComplete')).toEqual([
      'syncError',
      'syncComplete',
    ]);
    await world.expectSame('items');
  });

  test('a stop ends what runs and what waits, and the plugin can be used again', async () => {
    await world.items(500);
    const gate = await Gate.shut(world);
    const { plugin } = world.sync({
      batch_size: 100,
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 400') }],
    });
    const [first, second] = [rejection(plugin.triggerSync()), rejection(plugin.triggerSync())];
    await gate.reached();
    // What was read before the gate is committed as it comes.
    await until(async () => ((await plugin.getSyncStatus()).tableMap.items?.recordCount ?? 0) > 0);
    const third = rejection(plugin.triggerSync());
    await plugin.stop();
    for (const error of [await first, await second, await third]) {
      expect(error).toMatchObject({ code: 'CLOSED', retryable: false });
    }
    const committed = world.count('items');
    expect(committed).toBeGreaterThan(0);
    expect(committed % 100).toBe(0);
    await gate.open();
    expect((await plugin.triggerSync()).rowsInserted).toBe(500 - committed);
    await world.expectSame('items');
  });
});
