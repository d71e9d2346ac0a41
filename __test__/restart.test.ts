/**
 * Servers that crash and come back while they are synced, and servers that come back with earlier data: a failover to one
 * that was behind. The test kills servers of its own.
 *
 * D1 and StarbaseDB are left out: which databases there are is known only to the process that is in front of workerd.
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { MongoClient } from 'mongodb';
import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';
import { type DataSyncOptions, DataSyncPlugin, type SourceOptions } from '../index.js';
import { type OwnServer, ownServer } from './support/own-server.js';
import { Recorder } from './support/recorder.js';
import { ReplicaFolder, read } from './support/replica.js';
import { until } from './support/world.js';

interface Item {
  id: number;
  name: string;
  n: number;
}

/** How to reach one kind of server. A connection lasts for one call: the server may be another one after it. */
interface Access {
  kind: Parameters<typeof ownServer>[0];
  source(server: OwnServer): SourceOptions;
  create(server: OwnServer, table: string): Promise<void>;
  /** Writes rows, over those of the same key. */
  write(server: OwnServer, table: string, items: Item[]): Promise<void>;
  items(server: OwnServer, table: string): Promise<Item[]>;
}

const values = (items: Item[]) => items.map(({ id, name, n }) => `(${id}, '${name}', ${n})`).join(', ');
const TABLE = '(id int PRIMARY KEY, name varchar(300) NOT NULL, n int NOT NULL)';

async function postgres(server: OwnServer, sql: string): Promise<Item[]> {
  const client = new Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query<Item>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function mysql(server: OwnServer, sql: string): Promise<Item[]> {
  const client = await createConnection({ uri: server.url, multipleStatements: true });
  try {
    return (
      (
        await client.query(`CREATE DATABASE IF NOT EXISTS shop; USE shop; ${sql}`).then(([rows]) => rows as never[])
      )[2] ?? []
    );
  } finally {
    await client.end();
  }
}

async function mongodb<T>(server: OwnServer, work: (client: MongoClient) => Promise<T>): Promise<T> {
  // What is only in memory is lost in a crash, whatever the server answered.
  const client = await MongoClient.connect(server.url, { writeConcern: { w: 1, journal: true } });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

async function turso(server: OwnServer, sql: string): Promise<Item[]> {
  const requests = [{ type: 'execute', stmt: { sql } }, { type: 'close' }];
  const response = await fetch(new URL('v3/pipeline', server.url), {
    method: 'POST',
    body: JSON.stringify({ requests }),
  });
  const [{ response: answer, error }] = ((await response.json()) as { results: never[] }).results as unknown as [
    { response?: { result: { rows: { value: string }[][] } }; error?: { message: string } },
  ];
  if (!answer) throw new Error(error?.message);
  return answer.result.rows.map(([id, name, n]) => ({
    id: Number(id?.value),
    name: String(name?.value),
    n: Number(n?.value),
  }));
}

const ACCESS: Access[] = [
  {
    kind: 'postgresql',
    source: ({ url }) => ({ type: 'postgresql', url }),
    create: async (server, table) => void (await postgres(server, `CREATE TABLE ${table} ${TABLE}`)),
    async write(server, table, items) {
      const set = 'SET name = excluded.name, n = excluded.n';
      await postgres(server, `INSERT INTO ${table} VALUES ${values(items)} ON CONFLICT (id) DO UPDATE ${set}`);
    },
    items: (server, table) => postgres(server, `SELECT id, name, n FROM ${table} ORDER BY id`),
  },
  {
    kind: 'mysql',
    source: ({ url }) => ({ type: 'mysql', url: `${url}shop` }),
    create: async (server, table) => void (await mysql(server, `CREATE TABLE ${table} ${TABLE}`)),
    write: async (server, table, items) => void (await mysql(server, `REPLACE INTO ${table} VALUES ${values(items)}`)),
    items: (server, table) => mysql(server, `SELECT id, name, n FROM ${table} ORDER BY id`),
  },
  {
    kind: 'mongodb',
    source: ({ url }) => ({ type: 'mongodb', uri: `${url}shop` }),
    create: (server, table) =>
      mongodb(server, async (client) => void (await client.db('shop').createCollection(table))),
    write: (server, table, items) =>
      mongodb(server, async (client) => {
        const writes = items.map(({ id, name, n }) => ({
          replaceOne: { filter: { _id: id as never }, replacement: { name, n }, upsert: true },
        }));
        await client.db('shop').collection(table).bulkWrite(writes);
      }),
    items: (server, table) =>
      mongodb(server, async (client) => {
        const documents = await client.db('shop').collection(table).find().sort({ _id: 1 }).toArray();
        return documents.map(({ _id, name, n }) => ({ id: Number(_id), name, n }));
      }),
  },
  {
    kind: 'turso',
    source: ({ url }) => ({ type: 'turso', uri: url }),
    create: async (server, table) => void (await turso(server, `CREATE TABLE ${table} ${TABLE}`)),
    write: async (server, table, items) => void (await turso(server, `REPLACE INTO ${table} VALUES ${values(items)}`)),
    items: (server, table) => turso(server, `SELECT id, name, n FROM ${table} ORDER BY id`),
  },
];

/** Rows `from` to `to`, tracked by `n`, which is their id unless told otherwise. */
const items = (from: number, to: number, name = 'item', n = (id: number) => id): Item[] =>
  Array.from({ length: to - from + 1 }, (_, index) => {
    const id = from + index;
    return { id, name: `${name} ${id} ${'.'.repeat(200)}`, n: n(id) };
  });

describe.each(ACCESS)('$kind', (access) => {
  const folder = new ReplicaFolder();
  const plugins: DataSyncPlugin[] = [];
  let server: OwnServer;
  let stderr: jest.SpiedFunction<typeof process.stderr.write>;

  beforeAll(async () => {
    server = await ownServer(access.kind);
  });
  afterAll(async () => {
    await server.stop();
    folder.remove();
  });
  beforeEach(() => {
    // Log lines go to the terminal otherwise.
    stderr = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  });
  afterEach(async () => {
    await Promise.all(plugins.splice(0).map((plugin) => plugin.stop()));
    stderr.mockRestore();
  });

  function sync(table: string, database: string, options: DataSyncOptions = {}) {
    const tables = [{ name: table, mode: 'incremental' as const, track_column: 'n' }];
    const plugin = new DataSyncPlugin({ source: access.source(server), database, tables, ...options });
    plugins.push(plugin);
    return { plugin, told: new Recorder(plugin) };
  }

  const key = access.kind === 'mongodb' ? '_id' : 'id';
  const replica = (table: string, path: string) =>
    read<Record<keyof Item, unknown>>(path, `SELECT ${key} AS id, name, n FROM ${table} ORDER BY 1`).map((row) => ({
      ...row,
      id: Number(row.id),
      n: Number(row.n),
    }));
  const expectSame = async (table: string, path: string) =>
    expect(replica(table, path)).toEqual(await access.items(server, table));

  /** Restarts the server in the middle of a run, and gives what all runs inserted until one was complete. */
  async function interrupted(table: string, path: string): Promise<number> {
    const { plugin, told } = sync(table, path, { batch_size: 20 });
    let restart: Promise<void> | undefined;
    plugin.on('progress', () => {
      restart ??= server.restart();
    });
    let inserted = 0;
    try {
      inserted += (await plugin.triggerSync()).rowsInserted;
    } catch (error) {
      expect(error).toMatchObject({ retryable: true, code: expect.stringMatching(/^(CONNECT|SOURCE_READ)$/) });
      inserted += (error as { stats: { rowsInserted: number } | null }).stats?.rowsInserted ?? 0;
    }
    expect(restart).toBeDefined();
    await restart;
    // Each run has said how it ended, once.
    expect(told.outline.filter((name) => /^sync(Complete|Error)$/.test(name))).toHaveLength(1);
    inserted += (await sync(table, path).plugin.triggerSync()).rowsInserted;
    await expectSame(table, path);
    return inserted;
  }

  test('a crash in the middle of a first load, and of a run that goes on', async () => {
    const [table, path] = ['crashed', folder.fresh()];
    await access.create(server, table);
    await access.write(server, table, items(1, 4000));
    expect(await interrupted(table, path)).toBe(4000);
    await access.write(server, table, items(4001, 7000));
    expect(await interrupted(table, path)).toBe(3000);
  });

  test('a crash between two scheduled runs', async () => {
    const [table, path] = ['scheduled', folder.fresh()];
    await access.create(server, table);
    await access.write(server, table, items(1, 10));
    const { plugin, told } = sync(table, path, { sync_interval: 1 / 60 });
    const first = once(plugin, 'syncComplete');
    plugin.start();
    await first;
    await server.restart();
    await access.write(server, table, items(11, 20));
    await until(() => replica(table, path).length === 20);
    await expectSame(table, path);
    for (const error of told.of('syncError')) expect(error).toMatchObject({ retryable: true });
  });

  test('data of an earlier moment in place of what was synced', async () => {
    const table = 'lost';
    const [kept, followed] = [folder.fresh(), folder.fresh()];
    const options = { lookback_values: 5 };
    await access.create(server, table);
    await access.write(server, table, items(1, 100));
    const earlier = `${server.data}-earlier`;
    await server.restart(() => execFileSync('cp', ['-a', server.data, earlier]));
    await access.write(server, table, items(101, 150, 'lost'));
    await access.write(
      server,
      table,
      items(3, 3, 'lost', () => 151),
    );
    await sync(table, kept, options).plugin.triggerSync();
    await sync(table, followed, { ...options, deletes: 'hard' }).plugin.triggerSync();
    expect(replica(table, kept)).toHaveLength(150);
    await server.restart(() => {
      execFileSync('rm', ['-r', server.data]);
      execFileSync('mv', [earlier, server.data]);
    });
    expect(await access.items(server, table)).toHaveLength(100);

    const first = sync(table, kept, options);
    await first.plugin.triggerSync();
    const warnings = first.told.of('log').filter(({ level }) => level === 'warn');
    const said =
      access.kind === 'postgresql'
        ? `The source is behind what table ${table} was synced to`
        : `The newest row of table ${table} is gone from the source`;
    expect(warnings.map(({ message }) => message)).toContainEqual(expect.stringContaining(said));
    await sync(table, followed, { ...options, deletes: 'hard' }).plugin.triggerSync();
    if (access.kind === 'postgresql') await expectSame(table, followed);
    // Of a row that went back to what it was before, only PostgreSQL tells.
    else expect(replica(table, followed)).toHaveLength(100);
    const verified = (await first.plugin.verify()).tables[table];
    expect(verified).toMatchObject({ extra: 50, missing: 0, different: access.kind === 'postgresql' ? 0 : 1 });

    // Track values and keys that were given out before.
    await access.write(server, table, [...items(101, 120, 'after'), ...items(3, 3, 'after', () => 121)]);
    await first.plugin.triggerSync();
    const rows = replica(table, kept);
    const there = await access.items(server, table);
    expect(rows).toHaveLength(150);
    expect(rows.filter(({ id }) => id <= 120)).toEqual(there);
    await sync(table, followed, { ...options, deletes: 'hard' }).plugin.triggerSync();
    await expectSame(table, followed);
  });
});
