import Database from 'better-sqlite3';
import { Gate, onEveryServer } from './support/world.js';

onEveryServer((world) => {
  test('a run logs what users know, as events and on stderr', async () => {
    await world.items(100, 'users');
    await world.items(3, 'orders');
    await world.items(0, 'products');
    const { plugin, told } = world.sync({ tables: ['users', 'orders', 'products'] });
    await plugin.triggerSync();
    const expected = [
      'Data Sync Plugin: Starting synchronization',
      'Data Sync Plugin: Found 3 tables to sync',
      'Data Sync Plugin: Syncing table users',
      'Data Sync Plugin: Created table users',
      'Data Sync Plugin: Synced 100 records for table users',
      'Data Sync Plugin: Syncing table orders',
      'Data Sync Plugin: Created table orders',
      'Data Sync Plugin: Synced 3 records for table orders',
      'Data Sync Plugin: Syncing table products',
      'Data Sync Plugin: Created table products',
      'Data Sync Plugin: Synced 0 records for table products',
    ];
    expect(told.lines.filter((line) => expected.includes(line))).toEqual(expected);
    expect(told.of('log').every(({ level }) => level === 'info')).toBe(true);
    expect(world.stderr).toBe(told.lines.map((line) => `${line}\n`).join(''));

    told.clear();
    await world.query("UPDATE users SET updated_at = now() WHERE id < 3; INSERT INTO users VALUES (101, 'x', now())");
    await plugin.triggerSync();
    expect(told.lines).toContain('Data Sync Plugin: Synced 3 records for table users');
    expect(told.lines.some((line) => line.includes('Created table'))).toBe(false);
  });

  test('a connection that is refused', async () => {
    const { error, told } = await world.fail({
      source: { ...world.database.source, port: 1 },
      retry: { attempts: 1 },
    });
    const line = 'Data Sync Plugin: Failed to connect to external database: connect ECONNREFUSED 127.0.0.1:1';
    expect(told.of('log').at(-1)).toEqual({ level: 'error', message: line });
    expect(`Data Sync Plugin: ${error.message}`).toBe(line);
  });

  test('a table that is not there', async () => {
    const { told } = await world.fail({ tables: ['products'] });
    const errors = told.of('log').filter(({ level }) => level === 'error');
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toMatch(/^Data Sync Plugin: Table 'products' not found in external database/);
  });

  test('a table that can not be created', async () => {
    await world.items(3, 'users');
    await world.items(3, 'orders');
    await world.run({ tables: ['orders'] });
    const own = new Database(world.path);
    own.exec("CREATE TABLE users (mine TEXT); INSERT INTO users VALUES ('precious')");
    own.close();
    const { error, told } = await world.fail();
    expect(error).toMatchObject({ code: 'SCHEMA', table: 'users' });
    expect(error.message).toMatch(/^Failed to create table 'users': /);
    expect(told.lines).toContain(`Data Sync Plugin: ${error.message}`);
    expect(world.rows('SELECT * FROM users')).toEqual([{ mine: 'precious' }]);
    expect(error.stats?.tables).toHaveProperty('orders');
  });

  test('a run that takes long, again and again at doubled intervals', async () => {
    await world.items(3);
    const gate = await Gate.shut(world);
    const { plugin, told } = world.sync({
      slow_sync_warning: 1,
      tables: [{ name: 'items', mode: 'full', where: Gate.filter('id = 3') }],
    });
    plugin.once('syncStart', () => told.clear());
    const slow = new Promise<string>((resolve) => {
      plugin.on('log', ({ level, message }) => level === 'warn' && resolve(message));
    });
    const run = plugin.triggerSync();
    expect(await slow).toBe('Data Sync Plugin: Sync taking longer than expected (1s)');
    await gate.open();
    await run;
    await world.expectSame('items');
  });

  test('log_level and setLogLevel decide what is told', async () => {
    await world.items(3);
    const { plugin, told } = world.sync({ log_level: 'debug' });
    await plugin.triggerSync();
    expect(told.of('log').some(({ level }) => level === 'debug')).toBe(true);
    for (const level of ['warn', 'error', 'silent'] as const) {
      told.clear();
      plugin.setLogLevel(level);
      await plugin.triggerSync();
      expect(told.lines).toEqual([]);
      expect(told.outline).toHaveLength(4);
    }
    plugin.setLogLevel('info');
    await plugin.triggerSync();
    expect(told.of('log').some(({ level }) => level === 'info')).toBe(true);
    expect(told.of('log').some(({ level }) => level === 'debug')).toBe(false);

    const written = world.stderr.length;
    await world.fail({ log_level: 'silent', tables: ['gone'] });
    expect(world.stderr.length).toBe(written);
  });

  test('what a run can do better is said once, not every time', async () => {
    await world.query(
      `CREATE TYPE shade;
       CREATE FUNCTION shade_in(cstring) RETURNS shade LANGUAGE internal IMMUTABLE STRICT AS 'textin';
       CREATE FUNCTION shade_out(shade) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
       CREATE TYPE shade (INPUT = shade_in, OUTPUT = shade_out, LIKE = text);
       CREATE TABLE made (id int PRIMARY KEY, price numeric, shade shade, created_at timestamptz);
       INSERT INTO made VALUES (1, 1.50, 'light', '2026-01-01Z');
       CREATE TABLE whole (id int PRIMARY KEY, name text)`,
    );
    const { plugin, told } = world.sync();
    await plugin.triggerSync();
    const lines = told.lines.join('\n');
    expect(lines).toContain('Table made has only created_at to track');
    expect(lines).toContain('Column made.price (numeric) is kept as exact text');
    expect(lines).toContain("Column made.shade has the type shade, which is kept as the source's own text");
    expect(world.rows('SELECT price, shade FROM made')).toEqual([{ price: '1.50', shade: 'light' }]);
    expect(lines).toContain('Table whole has no column to track: each run reads it whole');
    told.clear();
    await plugin.triggerSync();
    expect(told.lines.filter((line) => /has only|has no column|is kept/.test(line))).toEqual([]);
  });
});
