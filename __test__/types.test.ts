import { onEveryServer } from './support/world.js';

/** Type, value as SQL, and the cell that is expected; `Buffer` for BLOB, `bigint` for INTEGER, `number` for REAL. */
const CELLS: [type: string, value: string, cell: unknown][] = [
  ['smallint', '-32768', -32768n],
  ['int', '2147483647', 2147483647n],
  ['bigint', '9007199254740993', 9007199254740993n],
  ['bigint', '-9223372036854775808', -9223372036854775808n],
  ['bigserial', '7', 7n],
  ['real', '0.1', 0.1],
  ['real', "'NaN'", 'NaN'],
  ['double precision', '1.7976931348623157e308', 1.7976931348623157e308],
  ['double precision', "'Infinity'", 'Infinity'],
  ['double precision', "'-Infinity'", '-Infinity'],
  ['numeric(12,2)', '1234567890.50', 1234567890.5],
  ['numeric(15,0)', '999999999999999', 999999999999999],
  ['numeric(16,2)', '12345678901234.50', '12345678901234.50'],
  ['numeric', '12345678901234567890.120', '12345678901234567890.120'],
  ['numeric', "'NaN'", 'NaN'],
  ['money', '1234.5', '$1,234.50'],
  ['boolean', 'true', 1n],
  ['boolean', 'false', 0n],
  ['text', "E'Zürich, 東京, 😀 \\\\ '' \\n'", "Zürich, 東京, 😀 \\ ' \n"],
  ['text', "''", ''],
  ['varchar(20)', "'007'", '007'],
  ['char(4)', "'ab'", 'ab  '],
  ['mood', "'happy'", 'happy'],
  ['xml', "'<a>1</a>'", '<a>1</a>'],
  ['inet', "'192.168.0.1/24'", '192.168.0.1/24'],
  ['cidr', "'10.0.0.0/8'", '10.0.0.0/8'],
  ['macaddr', "'08:00:2b:01:02:03'", '08:00:2b:01:02:03'],
  ['interval', "'1 year 2 mons 3 days 04:05:06.789'", '1 year 2 mons 3 days 04:05:06.789'],
  ['bit(4)', "B'1010'", '1010'],
  ['varbit', "B'00'", '00'],
  ['int4range', "'[1,5)'", '[1,5)'],
  ['tstzrange', "'[2026-01-01 00:00+00,)'", '["2026-01-01 00:00:00+00",)'],
  ['int4multirange', "'{[1,3),[5,7)}'", '{[1,3),[5,7)}'],
  ['pair', "ROW(1, 'a b')", '(1,"a b")'],
  ['price', '12.34', 12.34],
  ['uuid', "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ['bytea', "'\\x00ff10'", Buffer.from([0, 255, 16])],
  ['bytea', "''", Buffer.alloc(0)],
  ['json', '\'{"a" : 1.0, "a": 12345678901234567890}\'', '{"a" : 1.0, "a": 12345678901234567890}'],
  ['jsonb', '\'{"b": [1.50, null, "ü"]}\'', '{"b": [1.50, null, "ü"]}'],
  ['int[]', "'{{1,NULL},{3,4}}'", '[[1,null],[3,4]]'],
  ['text[]', "ARRAY['a\"b', '', NULL, 'ü']", '["a\\"b","",null,"ü"]'],
  ['numeric[]', "'{1.50,12345678901234567890}'", '[1.50,12345678901234567890]'],
  ['boolean[]', "'{t,f}'", '[true,false]'],
  ['jsonb[]', 'ARRAY[\'{"a": 1}\'::jsonb]', '[{"a": 1}]'],
  ['timestamptz', "'2026-06-15 16:30:00.123456+02'", '2026-06-15T14:30:00.123456Z'],
  ['timestamptz', "'2026-06-15 14:30:00Z'", '2026-06-15T14:30:00.000000Z'],
  ['timestamptz(3)', "'2026-06-15 14:30:00.5Z'", '2026-06-15T14:30:00.500Z'],
  ['timestamptz(0)', "'2026-06-15 14:30:00Z'", '2026-06-15T14:30:00Z'],
  ['timestamptz', "'infinity'", 'infinity'],
  ['timestamp', "'9999-12-31 23:59:59.999999'", '9999-12-31T23:59:59.999999'],
  ['timestamp', "'-infinity'", '-infinity'],
  ['date', "'2026-02-28'", '2026-02-28'],
  ['date', "'infinity'", 'infinity'],
  ['time', "'01:02:03.5'", '01:02:03.500000'],
  ['timetz', "'01:02:03-05:30'", '01:02:03.000000-05:30'],
  ['point', "'(1,2.5)'", '(1,2.5)'],
  ['tsvector', "'b a'", "'a' 'b'"],
  ['int', 'NULL', null],
  ['text[]', 'NULL', null],
];

const STORED = { bigint: 'INTEGER', number: 'REAL', string: 'TEXT', object: 'BLOB' } as Record<string, string>;

onEveryServer((world) => {
  test('every type has its cell', async () => {
    const versions = await world.query<{ version: number }>(
      "SELECT current_setting('server_version_num')::int AS version",
    );
    // Multiranges are newer than the oldest server that is supported.
    const cells = CELLS.filter(([type]) => type !== 'int4multirange' || Number(versions[0]?.version) >= 140_000);
    await world.query(
      `CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (n int, t text);
       CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE > 0);
       CREATE TABLE t (id int PRIMARY KEY, ${cells.map(([type], index) => `c${index} ${type}`)});
       INSERT INTO t VALUES (1, ${cells.map(([, value]) => value)})`,
    );
    await world.run();
    const row = world.rows<Record<string, unknown>>('SELECT * FROM t')[0] ?? {};
    const got = cells.map(([type, value], index) => [type, value, row[`c${index}`]]);
    expect(got).toEqual(cells);
    const declared = world.rows<{ type: string }>("SELECT type FROM pragma_table_info('t') WHERE name <> 'id'");
    expect(declared.every(({ type }) => Object.values(STORED).includes(type))).toBe(true);
    // SQLite's affinity changed nothing on the way in.
    const stored = world.rows<Record<string, string>>(
      `SELECT ${cells.map((_, i) => `typeof(c${i}) AS c${i}`)} FROM t`,
    )[0];
    cells.forEach(([type, , cell], index) => {
      if (cell !== null) expect([type, stored?.[`c${index}`]?.toUpperCase()]).toEqual([type, STORED[typeof cell]]);
    });
  });

  test('a table of 60 columns, and one with nothing but a key', async () => {
    const names = Array.from({ length: 59 }, (_, index) => `c${index}`);
    await world.query(
      `CREATE TABLE wide (id int PRIMARY KEY, ${names.map((name) => `${name} text`)});
       INSERT INTO wide SELECT i, ${names.map((name) => `'${name} ' || i`)} FROM generate_series(1, 50) i;
       CREATE TABLE narrow (id uuid PRIMARY KEY); INSERT INTO narrow SELECT gen_random_uuid() FROM generate_series(1, 50)`,
    );
    const { plugin } = world.sync();
    await plugin.triggerSync();
    await world.query(
      "UPDATE wide SET c58 = NULL, c0 = 'changed' WHERE id = 7; DELETE FROM narrow WHERE id = (SELECT min(id::text)::uuid FROM narrow)",
    );
    expect((await plugin.triggerSync()).tables).toMatchObject({ wide: { rowsUpdated: 1 }, narrow: { rowsDeleted: 1 } });
    await world.expectSame('wide');
    await world.expectSame('narrow');
  });

  test('names of any kind, and those that differ only in case', async () => {
    await world.query(
      `CREATE TABLE users (id int PRIMARY KEY, "Name" text, name text); INSERT INTO users VALUES (1, 'A', 'a');
       CREATE TABLE "Users" (id int PRIMARY KEY); INSERT INTO "Users" VALUES (2);
       CREATE TABLE "größe ""x"" ; --" ("spalte 'ü'" int PRIMARY KEY, "select" text);
       INSERT INTO "größe ""x"" ; --" VALUES (3, 'ß');
       CREATE TABLE tmp_cache (id int PRIMARY KEY); INSERT INTO tmp_cache VALUES (4)`,
    );
    const { stats } = await world.run();
    const names = Object.keys(stats.tables).sort();
    const upper = names.find((name) => /^Users_[0-9a-f]{6}$/.test(name)) as string;
    expect(names).toEqual([upper, 'größe "x" ; --', 'source_tmp_cache', 'users'].sort());
    expect(world.value(`SELECT id FROM "${upper}"`)).toBe(2n);
    expect(world.value('SELECT id FROM source_tmp_cache')).toBe(4n);
    expect(world.rows('SELECT * FROM "größe ""x"" ; --"')).toEqual([{ "spalte 'ü'": 3n, select: 'ß' }]);
    const row = world.rows<Record<string, unknown>>('SELECT * FROM users')[0] as Record<string, unknown>;
    expect(row.name).toBe('a');
    expect(Object.entries(row).find(([name]) => /^Name_[0-9a-f]{6}$/.test(name))?.[1]).toBe('A');
    expect(Object.keys((await world.run()).stats.tables).sort()).toEqual(names);
  });

  test('5,000 rows of one instant in batches of 1,000, then more of them', async () => {
    await world.query(
      `CREATE TABLE t (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL);
       INSERT INTO t SELECT i, 'first', '2026-01-01 00:00:00.000001Z' FROM generate_series(1, 10) i`,
    );
    const { plugin } = world.sync({ batch_size: 1000 });
    await plugin.triggerSync();
    await world.query("INSERT INTO t SELECT i, 'tie', '2026-02-01 00:00:00.123456Z' FROM generate_series(11, 5010) i");
    expect((await plugin.triggerSync()).rowsInserted).toBe(5000);
    expect((await plugin.getSyncStatus()).tableMap.t?.lastValue).toBe('2026-02-01T00:00:00.123456Z');
    await world.query(
      `INSERT INTO t VALUES (0, 'tie, late', '2026-02-01 00:00:00.123456Z'),
         (9000, 'a microsecond on', '2026-02-01 00:00:00.123457Z')`,
    );
    expect((await plugin.triggerSync()).rowsInserted).toBe(2);
    expect((await plugin.triggerSync()).rowsInserted).toBe(0);
    await world.expectSame('t');
  });

  test('rows dated 9999 and infinity hold nothing up', async () => {
    await world.items(3);
    await world.query("INSERT INTO items VALUES (4, 'far', '9999-12-31Z'), (5, 'never', 'infinity')");
    const { plugin } = world.sync();
    await plugin.triggerSync();
    expect((await plugin.getSyncStatus()).tableMap.items?.lastValue).toBe('2026-01-01T00:00:03.000000Z');
    await world.query("INSERT INTO items VALUES (6, 'now', now()); UPDATE items SET name = 'changed' WHERE id = 5");
    expect((await plugin.triggerSync()).rowsInserted).toBe(1);
    expect(world.rows('SELECT id, name, updated_at FROM items WHERE id IN (4, 5)')).toEqual([
      { id: 4n, name: 'far', updated_at: '9999-12-31T00:00:00.000000Z' },
      { id: 5n, name: 'changed', updated_at: 'infinity' },
    ]);
  });

  test('a transaction that commits late, and NULLs that are filled later', async () => {
    await world.items(3);
    const { plugin } = world.sync();
    await plugin.triggerSync();
    const late = await world.database.connect();
    await late.query("BEGIN; INSERT INTO items VALUES (10, 'late', now()), (11, 'undated', NULL)");
    await world.query("SELECT pg_sleep(0.01); INSERT INTO items VALUES (20, 'early', now())");
    expect((await plugin.triggerSync()).rowsInserted).toBe(1);
    await late.query('COMMIT');
    await late.end();
    expect((await plugin.triggerSync()).rowsInserted).toBe(2);
    expect((await plugin.getSyncStatus()).tableMap.items?.nullTracked).toBe(1);
    await world.query("UPDATE items SET name = 'dated long ago', updated_at = '2000-01-01Z' WHERE id = 11");
    expect((await plugin.triggerSync()).rowsUpdated).toBe(1);
    expect((await plugin.getSyncStatus()).tableMap.items?.nullTracked).toBe(0);
    await world.expectSame('items');
  });

  test('a composite text key, and a key that changes', async () => {
    await world.query(
      `CREATE TABLE t (country text, code text, name text, updated_at timestamptz, PRIMARY KEY (country, code));
       INSERT INTO t SELECT 'Ü' || i % 7, 'it''s ' || i, 'x', '2026-01-01Z' FROM generate_series(1, 500) i`,
    );
    const { plugin } = world.sync({ batch_size: 13, deletes: 'hard' });
    await plugin.triggerSync();
    await world.query("UPDATE t SET code = 'moved', updated_at = now() WHERE code = 'it''s 250'");
    expect((await plugin.triggerSync()).tables.t).toMatchObject({ rowsInserted: 1, rowsDeleted: 1 });
    await world.expectSame('t');
  });
});
