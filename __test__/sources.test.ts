/** The other sources, as a user of the package meets them; what they guarantee is shown by the Rust tests. */

import { randomBytes } from 'node:crypto';
import { type Db, MongoClient, ObjectId } from 'mongodb';
import { type Connection, createConnection } from 'mysql2/promise';
import { type DataSyncOptions, DataSyncPlugin } from '../index.js';
import { Recorder } from './support/recorder.js';
import { ReplicaFolder, read } from './support/replica.js';
import { PLACES, type Place } from './support/sqlite-family.js';
import { rejection } from './support/world.js';

function servers(variable: string): string[] {
  const urls = process.env[variable]?.split(' ').filter(Boolean) ?? [];
  if (urls.length === 0) throw new Error(`${variable} is not set; run the tests with npm test`);
  return urls;
}

const folder = new ReplicaFolder();
const name = () => `test_${randomBytes(6).toString('hex')}`;
let stderr: jest.SpiedFunction<typeof process.stderr.write>;

beforeEach(() => {
  // Log lines go to the terminal otherwise.
  stderr = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
});
afterEach(() => stderr.mockRestore());
afterAll(() => folder.remove());

/** Runs as a process that starts, syncs and ends. */
async function run(options: DataSyncOptions) {
  const plugin = new DataSyncPlugin(options);
  const told = new Recorder(plugin);
  try {
    return { stats: await plugin.triggerSync(), status: await plugin.getSyncStatus(), told };
  } finally {
    await plugin.stop();
  }
}

async function fail(options: DataSyncOptions) {
  const plugin = new DataSyncPlugin({ retry: { attempts: 1 }, ...options });
  try {
    return await rejection(plugin.triggerSync());
  } finally {
    await plugin.stop();
  }
}

describe.each(servers('DATA_SYNC_TEST_MYSQL').map((url, index) => ({ number: index + 1, url })))(
  'MySQL or MariaDB, server $number',
  ({ url }) => {
    const database = name();
    const address = new URL(url);
    const source = {
      type: 'mysql' as const,
      host: address.hostname,
      port: address.port,
      user: address.username,
      password: decodeURIComponent(address.password),
      database,
    };
    let client: Connection;

    beforeAll(async () => {
      client = await createConnection({ uri: url, multipleStatements: true, timezone: 'Z' });
      await client.query(`CREATE DATABASE ${database} CHARACTER SET utf8mb4; USE ${database}`);
    });
    afterAll(async () => {
      await client.query(`DROP DATABASE ${database}`);
      await client.end();
    });

    test('rows, changes, a value that outgrows its column, and a status', async () => {
      const path = folder.fresh();
      await client.query(`
        CREATE TABLE users (id int PRIMARY KEY, name varchar(50), points bigint unsigned, born date, updated_at timestamp(6) NULL);
        INSERT INTO users VALUES (1, 'Ada 🧮', 9007199254740993, '1815-12-10', '2026-01-01 00:00:00.000001'), (2, NULL, 2, '0000-00-00', NULL)`);
      const first = await run({ source, database: path });
      expect(first.stats).toMatchObject({ rowsInserted: 2, tables: { users: { mode: 'incremental' } } });
      expect(read(path, 'SELECT * FROM users')).toEqual([
        {
          id: 1n,
          name: 'Ada 🧮',
          points: 9_007_199_254_740_993n,
          born: '1815-12-10',
          updated_at: '2026-01-01T00:00:00.000001Z',
        },
        { id: 2n, name: null, points: 2n, born: '0000-00-00', updated_at: null },
      ]);
      await client.query("UPDATE users SET points = 18446744073709551615, updated_at = '2026-01-02' WHERE id = 1");
      const second = await run({ source, database: path });
      expect(second.told.of('schemaChange')).toEqual([
        {
          table: 'users',
          changes: [
            {
              kind: 'columnRetyped',
              column: 'points',
              from: expect.stringContaining('bigint'),
              to: expect.stringContaining('beyond 2^63-1'),
            },
          ],
        },
      ]);
      expect(read(path, 'SELECT points FROM users')).toEqual([{ points: '18446744073709551615' }, { points: '2' }]);
      expect(second.status.tableMap.users).toMatchObject({
        lastValue: '2026-01-02T00:00:00.000000Z',
        recordCount: 2,
        nullTracked: 1,
      });
      expect(second.told.text).not.toContain(source.password);
    });

    test('a password that is wrong, and a database that is not there', async () => {
      const wrong = await fail({ source: { ...source, password: 'wrong-secret' }, database: folder.fresh() });
      expect(wrong).toMatchObject({ code: 'AUTH', retryable: false });
      expect(wrong.message).toMatch(/^Failed to connect to external database: Access denied/);
      expect(wrong.message).not.toContain('wrong-secret');
      const nowhere = await fail({ source: { ...source, database: 'no_such_database' }, database: folder.fresh() });
      expect(nowhere).toMatchObject({ code: 'CONNECT', retryable: false });
    });
  },
);

describe.each(servers('DATA_SYNC_TEST_MONGODB').map((url, index) => ({ number: index + 1, url })))(
  'MongoDB, server $number',
  ({ url }) => {
    const database = name();
    const address = new URL(url);
    address.pathname = `/${database}`;
    const source = { type: 'mongodb' as const, uri: address.href };
    let client: MongoClient;
    let db: Db;

    beforeAll(async () => {
      client = await MongoClient.connect(address.href);
      db = client.db(database);
    });
    afterAll(async () => {
      await db.dropDatabase();
      await client.close();
    });

    test('documents, a new field, a field of another type, and whole documents', async () => {
      const path = folder.fresh();
      const users = db.collection<{ _id: ObjectId; [field: string]: unknown }>('users');
      const ids = ['65a000000000000000000001', '65a000000000000000000002', '65a000000000000000000003'] as const;
      const at = (day: number) => new Date(Date.UTC(2026, 0, day));
      await users.insertMany([
        { _id: new ObjectId(ids[0]), name: 'Ada 🧮', tags: ['a', { b: 1 }], n: 1, updated_at: at(1) },
        { _id: new ObjectId(ids[1]), name: null, n: 2, updated_at: at(2) },
      ]);
      const first = await run({ source, database: path });
      expect(first.stats).toMatchObject({ rowsInserted: 2, tables: { users: { mode: 'incremental' } } });
      expect(read(path, 'SELECT _id, name, tags, n, updated_at FROM users ORDER BY _id')).toEqual([
        { _id: ids[0], name: 'Ada 🧮', tags: '["a",{"b":1}]', n: 1n, updated_at: '2026-01-01T00:00:00.000Z' },
        { _id: ids[1], name: null, tags: null, n: 2n, updated_at: '2026-01-02T00:00:00.000Z' },
      ]);
      await users.insertOne({ _id: new ObjectId(ids[2]), n: 'three', extra: true, updated_at: at(3) });
      const second = await run({ source, database: path });
      const changes = second.told.of('schemaChange').flatMap(({ changes }) => changes);
      expect(changes.map(({ kind, column }) => [kind, column]).sort()).toEqual([
        ['columnAdded', 'extra'],
        ['columnRetyped', 'n'],
      ]);
      expect(read(path, 'SELECT n, extra FROM users ORDER BY _id')).toEqual([
        { n: '1', extra: null },
        { n: '2', extra: null },
        { n: '"three"', extra: 1n },
      ]);
      expect(second.status.tableMap.users).toMatchObject({ lastValue: '2026-01-03T00:00:00.000Z', recordCount: 3 });

      const whole = folder.fresh();
      await run({ source, database: whole, tables: [{ name: 'users', columns: ['_doc'] }] });
      const [doc] = read<{ _doc: string }>(whole, `SELECT _doc FROM users WHERE _id = '${ids[0]}'`);
      expect(JSON.parse(doc?._doc ?? '')).toMatchObject({ _id: { $oid: ids[0] }, tags: ['a', { b: 1 }] });
    });

    test('a server that is not there', async () => {
      const error = await fail({
        source: { type: 'mongodb', uri: 'mongodb://someone:hush-secret@127.0.0.1:1/app' },
        database: folder.fresh(),
        connect_timeout: 2,
      });
      expect(error).toMatchObject({ code: 'CONNECT', retryable: true });
      expect(error.message).toContain('ECONNREFUSED 127.0.0.1:1');
      expect(error.message).not.toContain('hush-secret');
    });
  },
);

describe.each(PLACES)('$kind', ({ make }) => {
  let place: Place;

  beforeAll(async () => {
    place = await make(folder.fresh());
  });
  afterAll(() => place.drop());

  test('rows, changes, and values with all their digits', async () => {
    const { source } = place;
    const path = folder.fresh();
    await place.run(`
      CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(50), points BIGINT, share REAL, photo BLOB, born DATE, updated_at DATETIME);
      INSERT INTO users VALUES
        (1, 'Ada 🧮', 9007199254740993, 0.1, x'00ff10', '1815-12-10', '2026-01-01 00:00:00'),
        (2, NULL, -9223372036854775808, 2.0, x'', NULL, NULL)`);
    const first = await run({ source, database: path });
    expect(first.stats).toMatchObject({ rowsInserted: 2, tables: { users: { mode: 'incremental' } } });
    const untouched = {
      id: 2n,
      name: null,
      points: -9_223_372_036_854_775_808n,
      share: 2,
      photo: Buffer.alloc(0),
      born: null,
      updated_at: null,
    };
    expect(read(path, 'SELECT * FROM users ORDER BY id')).toEqual([
      {
        id: 1n,
        name: 'Ada 🧮',
        points: 9_007_199_254_740_993n,
        share: 0.1,
        photo: Buffer.from('00ff10', 'hex'),
        born: '1815-12-10',
        updated_at: '2026-01-01 00:00:00',
      },
      untouched,
    ]);
    await place.run(`
      UPDATE users SET points = 9223372036854775807, photo = NULL, updated_at = '2026-01-02 00:00:00' WHERE id = 1;
      INSERT INTO users (id, points, updated_at) VALUES (3, 9007199254740992, '2026-01-02 00:00:00')`);
    const second = await run({ source, database: path });
    expect(second.stats).toMatchObject({ rowsInserted: 1, rowsUpdated: 1, rowsDeleted: 0 });
    expect(read(path, 'SELECT id, points, photo FROM users WHERE id <> 2 ORDER BY id')).toEqual([
      { id: 1n, points: 9_223_372_036_854_775_807n, photo: null },
      { id: 3n, points: 9_007_199_254_740_992n, photo: null },
    ]);
    expect(read(path, 'SELECT * FROM users WHERE id = 2')).toEqual([untouched]);
    expect(second.status.tableMap.users).toMatchObject({
      lastValue: '2026-01-02 00:00:00',
      recordCount: 3,
      nullTracked: 1,
    });
    const third = await run({ source, database: path });
    expect(third.stats).toMatchObject({ rowsInserted: 0, rowsUpdated: 0, rowsDeleted: 0 });
    for (const secret of place.secrets) expect(first.told.text + second.told.text).not.toContain(secret);
  });

  test('a token that is wrong, or a file that is not there', async () => {
    const source = place.refused ?? { type: 'sqlite' as const, path: folder.fresh() };
    const error = await fail({ source, database: folder.fresh() });
    expect(error).toMatchObject({ code: place.refused ? 'AUTH' : 'CONNECT', retryable: false });
    expect(error.message).toMatch(/^Failed to connect to external database: /);
    expect(error.message).not.toContain('wrong-secret');
  });
});
