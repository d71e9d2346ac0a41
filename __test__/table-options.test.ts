import { readFileSync } from 'node:fs';
import type { DataSyncOptions, TableOptions } from '../index.js';
import { Gate, onEveryServer, rejection, until } from './support/world.js';

onEveryServer((world) => {
  const tables = async (options: DataSyncOptions) => Object.keys((await world.run(options)).stats.tables);

  test('tables: none named means every base table of the default schema', async () => {
    await world.items(2, 'users');
    await world.query(
      `CREATE VIEW seen AS SELECT * FROM users; CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY);
       CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
       CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1)`,
    );
    expect(await tables({})).toEqual(['parted', 'users']);
    expect(
      await tables({ source: { ...world.database.source, schema: 'shop' }, database: world.folder.fresh() }),
    ).toEqual(['orders']);
  });

  test('tables: names, schemas, patterns and objects', async () => {
    await world.query(
      `CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE TABLE shop.order_lines (id int PRIMARY KEY);
       CREATE TABLE shop.users (id int PRIMARY KEY); CREATE TABLE users (id int PRIMARY KEY)`,
    );
    const named = (...tables: (string | TableOptions)[]) => ({ tables, database: world.folder.fresh() });
    expect(await tables(named('users', 'shop.users'))).toEqual(['shop_users', 'users']);
    expect(await tables(named('shop.order*'))).toEqual(['shop_order_lines', 'shop_orders']);
    expect(await tables(named({ name: 'orders', schema: 'shop', as: 'sales' }))).toEqual(['sales']);
    expect(await tables(named('shop.*', { name: 'shop.users', as: 'people' }))).toEqual([
      'people',
      'shop_order_lines',
      'shop_orders',
    ]);
    // Of two that would be called alike, the one that is named so keeps the name.
    const [first, second] = await tables(named('users', { name: 'shop.users', as: 'USERS' }));
    expect([first, second]).toEqual(['USERS', expect.stringMatching(/^users_[0-9a-f]{6}$/)]);
    const { error } = await world.fail(named({ name: 'shop.users', as: 'sqlite_users' }));
    expect(error).toMatchObject({ code: 'CONFIG', message: expect.stringMatching(/^as: 'sqlite_users' can't be/) });
  });

  test('as: the name in the target, in events and in status', async () => {
    await world.items(3);
    const { plugin, told } = world.sync({ tables: [{ name: 'items', as: 'Dinge & co' }] });
    await plugin.triggerSync();
    expect(told.of('syncStart')).toEqual([{ tables: ['Dinge & co'] }]);
    expect(Object.keys((await plugin.getSyncStatus()).tableMap)).toEqual(['Dinge & co']);
    await world.expectSame('items', { target: 'Dinge & co' });
  });

  test('mode: auto follows updates, append only additions, full everything', async () => {
    await world.items(5, 'auto');
    await world.items(5, 'append');
    await world.items(5, 'whole');
    const { plugin } = world.sync({
      tables: [
        { name: 'auto', mode: 'auto' },
        { name: 'append', mode: 'append', track_column: 'id' },
        { name: 'whole', mode: 'full' },
      ],
    });
    await plugin.triggerSync();
    for (const table of ['auto', 'append', 'whole']) {
      await world.query(
        `UPDATE ${table} SET name = 'changed', updated_at = now() WHERE id = 2; DELETE FROM ${table} WHERE id = 3;
         INSERT INTO ${table} VALUES (6, 'new', now())`,
      );
    }
    const { tables } = await plugin.triggerSync();
    expect(tables).toMatchObject({
      auto: { mode: 'incremental', rowsInserted: 1, rowsUpdated: 1, rowsDeleted: 0 },
      append: { mode: 'append', rowsInserted: 1, rowsUpdated: 0, rowsDeleted: 0 },
      whole: { mode: 'full', rowsInserted: 1, rowsUpdated: 1, rowsDeleted: 1, rowsRead: 5 },
    });
    expect(world.value('SELECT name FROM append WHERE id = 2')).not.toBe('changed');
    await world.expectSame('whole');
    const { error } = await world.fail({ tables: [{ name: 'keyless', mode: 'incremental' }] });
    expect(error.code).toBe('TABLE_NOT_FOUND');
    await world.query('CREATE TABLE keyless (n int)');
    const refused = await world.fail({ tables: [{ name: 'keyless', mode: 'incremental' }] });
    expect(refused.error).toMatchObject({ code: 'SCHEMA', table: 'keyless' });
    expect(refused.error.message).toMatch(/^Table 'keyless' has no key, so only mode 'full' can serve it: /);
  });

  test('primary_key: lets a view be synced incrementally', async () => {
    await world.items(5);
    await world.query('CREATE VIEW seen AS SELECT * FROM items WHERE id <> 4');
    const { plugin } = world.sync({ tables: [{ name: 'seen', primary_key: ['id'] }] });
    expect((await plugin.triggerSync()).tables.seen).toMatchObject({ mode: 'incremental', rowsInserted: 4 });
    await world.query("UPDATE items SET name = 'changed', updated_at = now() WHERE id = 2");
    expect((await plugin.triggerSync()).tables.seen).toMatchObject({ rowsInserted: 0, rowsUpdated: 1 });
    expect(world.rows("SELECT name FROM pragma_table_info('seen') WHERE pk > 0")).toEqual([{ name: 'id' }]);
  });

  test('columns and exclude_columns: what is copied', async () => {
    await world.items(2);
    const columns = (table: string, path: string) =>
      world.rows<{ name: string }>(`SELECT name FROM pragma_table_info('${table}')`, path).map(({ name }) => name);
    await world.run({ tables: [{ name: 'items', columns: ['id', 'updated_at'] }] });
    expect(columns('items', world.path)).toEqual(['id', 'updated_at']);
    const other = world.folder.fresh();
    await world.run({ database: other, tables: [{ name: 'items', exclude_columns: ['name'] }] });
    expect(columns('items', other)).toEqual(['id', 'updated_at']);
    const { error } = await world.fail({ database: other, tables: [{ name: 'items', columns: ['name'] }] });
    expect(error).toMatchObject({ code: 'SCHEMA', table: 'items' });
    expect(error.message).toContain("leave out its key column 'id'");
    const missing = await world.fail({ database: other, tables: [{ name: 'items', columns: ['id', 'nmae'] }] });
    expect(missing.error.message).toMatch(/^Table 'items' has no column 'nmae': /);
  });

  test('where: a condition of the source, and another one loads anew', async () => {
    await world.items(10);
    const ids = () => world.rows<{ id: bigint }>('SELECT id FROM items ORDER BY id').map(({ id }) => Number(id));
    await world.run({ tables: [{ name: 'items', where: "id <= 3 OR name LIKE 'item 7%' -- the end" }] });
    expect(ids()).toEqual([1, 2, 3, 7]);
    await world.run({ tables: [{ name: 'items', where: 'id <= 5' }] });
    expect(ids()).toEqual([1, 2, 3, 4, 5, 7]);
    const { error } = await world.fail({ tables: [{ name: 'items', where: 'nonsense > 1' }] });
    expect(error).toMatchObject({ code: 'SOURCE_READ', table: 'items', retryable: false });
    expect(error.message).toMatch(/^Failed to read table 'items' from external database: .*nonsense/);
  });

  test('types above type_map above the built-in table', async () => {
    await world.query(
      `CREATE TABLE prices (id int PRIMARY KEY, price numeric, label varchar(10), other varchar(10), size char(2), key uuid);
       INSERT INTO prices VALUES (1, 12.50, '7', '7', '42', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')`,
    );
    await world.run({
      type_map: { VARCHAR: 'INTEGER', uuid: 'BLOB', 'character(2)': 'INTEGER' },
      tables: [{ name: 'prices', types: { price: 'REAL', other: 'TEXT' } }],
    });
    expect(world.rows('SELECT price, label, other, size, hex(key) AS key FROM prices')).toEqual([
      { price: 12.5, label: 7n, other: '7', size: 42n, key: 'A0EEBC999C0B4EF8BB6D6BB9BD380A11' },
    ]);
    expect(world.rows("SELECT type FROM pragma_table_info('prices') LIMIT 5")).toEqual(
      ['INTEGER', 'REAL', 'INTEGER', 'TEXT', 'INTEGER'].map((type) => ({ type })),
    );
  });

  test('track_column and deletes: of one table, above those of all', async () => {
    await world.query(
      `CREATE TABLE a (id int PRIMARY KEY, name text, changed timestamptz, updated_at timestamptz);
       CREATE TABLE b (LIKE a INCLUDING ALL);
       INSERT INTO a SELECT i, 'x', '2020-01-01Z', '2020-01-01Z' FROM generate_series(1, 9) i;
       INSERT INTO a VALUES (10, 'x', '2021-01-01Z', '2021-01-01Z'); INSERT INTO b TABLE a`,
    );
    const { plugin } = world.sync({
      deletes: 'hard',
      tables: ['a', { name: 'b', track_column: 'changed', deletes: 'none' }],
    });
    await plugin.triggerSync();
    for (const table of ['a', 'b']) {
      await world.query(
        `UPDATE ${table} SET name = 'by changed', changed = now() WHERE id = 1;
         UPDATE ${table} SET name = 'by updated_at', updated_at = now() WHERE id = 2; DELETE FROM ${table} WHERE id = 3`,
      );
    }
    const { tables } = await plugin.triggerSync();
    expect(tables).toMatchObject({ a: { rowsUpdated: 1, rowsDeleted: 1 }, b: { rowsUpdated: 1, rowsDeleted: 0 } });
    expect(world.value("SELECT group_concat(id || name) FROM a WHERE name <> 'x'")).toBe('2by updated_at');
    expect(world.value("SELECT group_concat(id || name) FROM b WHERE name <> 'x'")).toBe('1by changed');
  });

  test('batch_size: rows are committed in batches of it, of one table above that of all', async () => {
    for (const [size, options] of [
      [100, { batch_size: 100 }],
      [70, { batch_size: 100, of: 70 }],
    ] as const) {
      const table = `items_${size}`;
      await world.items(500, table);
      const gate = await Gate.shut(world);
      const wish: TableOptions = { name: table, mode: 'full', where: Gate.filter('id > 400') };
      if ('of' in options) wish.batch_size = options.of;
      const database = world.folder.fresh();
      const { plugin } = world.sync({ database, batch_size: options.batch_size, tables: [wish] });
      const run = rejection(plugin.triggerSync());
      await gate.reached();
      // The server is at the gate before the first rows that it sent are written.
      await until(async () => ((await plugin.getSyncStatus()).tableMap[table]?.recordCount ?? 0) > 0);
      await plugin.stop();
      expect((await run).code).toBe('CLOSED');
      const committed = world.count(table, database);
      expect(committed).toBeGreaterThan(0);
      expect(committed % size).toBe(0);
      await gate.open();
    }
  });

  test('select: columns that the source computes', async () => {
    await world.items(20);
    const { plugin } = world.sync({ tables: [{ name: 'items', select: { shout: 'upper(name)', next: 'id + 1' } }] });
    await plugin.triggerSync();
    expect(world.rows('SELECT count(*) AS right FROM items WHERE shout = upper(name) AND next = id + 1')).toEqual([
      { right: 20n },
    ]);
    expect((await plugin.verify()).tables.items).toMatchObject({ rows: 20, different: 0 });
    const { error } = await world.fail({
      database: world.folder.fresh(),
      tables: [{ name: 'items', select: { shout: 'upper(nowhere)' } }],
    });
    expect(error).toMatchObject({ code: 'SOURCE_READ', message: expect.stringContaining("Column 'shout'") });
  });

  test('mask: values stay at the source', async () => {
    await world.items(20);
    const { plugin, told } = world.sync({ tables: [{ name: 'items', mask: { name: 'hash' } }] });
    await plugin.triggerSync();
    expect(
      world.rows('SELECT count(*) AS rows, count(DISTINCT name) AS names, min(length(name)) AS digits FROM items'),
    ).toEqual([{ rows: 20n, names: 20n, digits: 64n }]);
    expect((await plugin.verify()).tables.items).toMatchObject({ rows: 20, different: 0 });
    expect(told.text + readFileSync(world.path)).not.toContain('item 7.');
    const { error } = await world.fail({
      database: world.folder.fresh(),
      tables: [{ name: 'items', mask: { id: 'null' } }],
    });
    expect(error).toMatchObject({ code: 'SCHEMA', message: expect.stringContaining("The key column 'id'") });
  });
});
