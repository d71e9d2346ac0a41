/**
 * Where a soak writes. Each module's `connect(url)` gives `{ create(), write(operations), late?(operations, delay), page(table, after, limit), close() }`:
 * `late` holds a transaction open for `delay` milliseconds and then commits it, and a page's rows are what the replica's are to be, as texts.
 */

import { createRequire } from 'node:module';
import { TABLES } from './history.mjs';

const require = createRequire(import.meta.url);

/** Operations by table, each row and each removed key once: the last word on it. */
function byTable(operations) {
  const tables = Object.fromEntries(Object.keys(TABLES).map((name) => [name, { rows: new Map(), gone: new Set() }]));
  for (const { table, row, gone } of operations) {
    const { rows, gone: removed } = tables[table];
    if (row) {
      rows.set(row[0], row);
      removed.delete(row[0]);
    } else {
      rows.delete(gone);
      removed.add(gone);
    }
  }
  return Object.entries(tables).map(([table, { rows, gone }]) => ({
    table,
    columns: TABLES[table].columns,
    rows: [...rows.values()],
    gone: [...gone],
  }));
}

const transposed = (rows, columns) => columns.map((_, at) => rows.map((row) => row[at]));

/** Holds the transaction of `put` open on a connection of its own, and then commits it. */
function lateBy(open, put) {
  return async (operations, delay) => {
    const client = await open();
    await put(client, operations);
    await new Promise((resolve) => setTimeout(resolve, delay));
    await client.query('COMMIT');
    await client.end();
  };
}

const postgresql = {
  async connect(url) {
    const { Client } = require('pg');
    const open = async () => {
      const client = new Client({ connectionString: url });
      await client.connect();
      return client;
    };
    const client = await open();
    const put = async (client, operations) => {
      await client.query('BEGIN');
      for (const { table, columns, rows, gone } of byTable(operations)) {
        const changes = columns.slice(1).map((name) => `${name} = excluded.${name}`);
        await client.query(
          `INSERT INTO ${table} (${columns}) SELECT * FROM unnest($1::bigint[], $2::${table === 'events' ? 'bigint' : 'text'}[], $3::bigint[], $4::text[])
           ON CONFLICT (id) DO UPDATE SET ${changes}, updated_at = now()`,
          transposed(rows, columns),
        );
        if (gone.length > 0) await client.query(`DELETE FROM ${table} WHERE id = ANY($1)`, [gone]);
      }
    };
    return {
      async create() {
        await client.query(
          `CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL, note text,
             updated_at timestamptz NOT NULL DEFAULT now());
           CREATE TABLE events (id bigint PRIMARY KEY, account bigint NOT NULL, amount bigint NOT NULL, note text,
             updated_at timestamptz NOT NULL DEFAULT now());
           CREATE INDEX ON accounts (updated_at, id); CREATE INDEX ON events (updated_at, id)`,
        );
      },
      async write(operations) {
        await put(client, operations);
        await client.query('COMMIT');
      },
      late: lateBy(open, put),
      async page(table, after, limit) {
        const time = `to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
        const columns = TABLES[table].columns.map((name) => `${name}::text`);
        const text = `SELECT ${columns}, ${time} FROM ${table} WHERE id > $1 ORDER BY ${table}.id LIMIT $2`;
        return (await client.query({ text, values: [after, limit], rowMode: 'array' })).rows;
      },
      close: () => client.end(),
    };
  },
};

const mysql = {
  async connect(url) {
    const { createConnection } = require('mysql2/promise');
    const open = async () => {
      const client = await createConnection({ uri: url, multipleStatements: true });
      await client.query("SET time_zone = '+00:00'");
      return client;
    };
    const client = await open();
    const put = async (client, operations) => {
      await client.query('START TRANSACTION');
      for (const { table, columns, rows, gone } of byTable(operations)) {
        const changes = columns.slice(1).map((name) => `${name} = VALUES(${name})`);
        if (rows.length > 0) {
          const sql = `INSERT INTO ${table} (${columns}) VALUES ? ON DUPLICATE KEY UPDATE ${changes}, updated_at = now(6)`;
          await client.query(sql, [rows]);
        }
        if (gone.length > 0) await client.query(`DELETE FROM ${table} WHERE id IN (?)`, [gone]);
      }
    };
    return {
      async create() {
        await client.query(
          `CREATE TABLE accounts (id bigint PRIMARY KEY, owner varchar(100) NOT NULL, balance bigint NOT NULL, note text,
             updated_at timestamp(6) NOT NULL DEFAULT now(6), KEY (updated_at, id));
           CREATE TABLE events (id bigint PRIMARY KEY, account bigint NOT NULL, amount bigint NOT NULL, note text,
             updated_at timestamp(6) NOT NULL DEFAULT now(6), KEY (updated_at, id))`,
        );
      },
      async write(operations) {
        await put(client, operations);
        await client.query('COMMIT');
      },
      late: lateBy(open, put),
      async page(table, after, limit) {
        const time = `date_format(updated_at, '%Y-%m-%dT%H:%i:%s.%fZ')`;
        const columns = TABLES[table].columns.map((name) => `CAST(${name} AS char)`);
        const sql = `SELECT ${columns}, ${time} FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`;
        return (await client.query({ sql, rowsAsArray: true }, [after, limit]))[0];
      },
      close: () => client.end(),
    };
  },
};

const mongodb = {
  /** What the stand-in for a MongoDB takes. */
  rate: 100,
  async connect(url) {
    const { Long, MongoClient } = require('mongodb');
    const client = await MongoClient.connect(url);
    const database = client.db('soak');
    const document = (columns, row, now) => {
      const members = columns.slice(1).map((name, at) => [name, row[at + 1]]);
      // A note that isn't there is missing, which is not the same as NULL.
      const there = members.filter(([, value]) => value !== null);
      const value = ([name, value]) => [name, typeof value === 'number' ? Long.fromNumber(value) : value];
      return { _id: Long.fromNumber(row[0]), ...Object.fromEntries(there.map(value)), updated_at: now };
    };
    return {
      async create() {
        for (const table of Object.keys(TABLES)) {
          await database.collection(table).createIndex({ updated_at: 1, _id: 1 });
        }
      },
      async write(operations) {
        const now = (await database.command({ hello: 1 })).localTime;
        for (const { table, columns, rows, gone } of byTable(operations)) {
          const replaced = rows.map((row) => ({
            replaceOne: {
              filter: { _id: Long.fromNumber(row[0]) },
              replacement: document(columns, row, now),
              upsert: true,
            },
          }));
          const removed = gone.map((id) => ({ deleteOne: { filter: { _id: Long.fromNumber(id) } } }));
          const all = [...replaced, ...removed];
          if (all.length > 0) await database.collection(table).bulkWrite(all, { ordered: false });
        }
      },
      async page(table, after, limit) {
        const found = database.collection(table).find({ _id: { $gt: Long.fromBigInt(BigInt(after)) } });
        const documents = await found.sort({ _id: 1 }).limit(limit).toArray();
        const text = (value) => (value === undefined ? null : String(value));
        return documents.map((document) => [
          text(document._id),
          ...TABLES[table].columns.slice(1).map((name) => text(document[name])),
          document.updated_at.toISOString(),
        ]);
      },
      close: () => client.close(),
    };
  },
};

const sqlite = {
  async connect(path) {
    const Database = require('better-sqlite3');
    const database = new Database(path, { timeout: 5000 });
    database.pragma('journal_mode = WAL');
    const now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    const write = database.transaction((operations) => {
      for (const { table, columns, rows, gone } of byTable(operations)) {
        const changes = columns.slice(1).map((name) => `${name} = excluded.${name}`);
        const put = database.prepare(
          `INSERT INTO ${table} (${columns}) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET ${changes}, updated_at = ${now}`,
        );
        for (const row of rows) put.run(row);
        const remove = database.prepare(`DELETE FROM ${table} WHERE id = ?`);
        for (const id of gone) remove.run(id);
      }
    });
    return {
      async create() {
        database.exec(
          `CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL, note TEXT,
             updated_at TEXT NOT NULL DEFAULT (${now}));
           CREATE TABLE events (id INTEGER PRIMARY KEY, account INTEGER NOT NULL, amount INTEGER NOT NULL, note TEXT,
             updated_at TEXT NOT NULL DEFAULT (${now}));
           CREATE INDEX accounts_updated_at ON accounts (updated_at, id);
           CREATE INDEX events_updated_at ON events (updated_at, id)`,
        );
      },
      async write(operations) {
        write.immediate(operations);
      },
      async page(table, after, limit) {
        const columns = TABLES[table].columns.map((name) => `CAST(${name} AS TEXT)`);
        const sql = `SELECT ${columns}, updated_at FROM ${table} WHERE id > ? ORDER BY ${table}.id LIMIT ?`;
        return database.prepare(sql).raw().all(BigInt(after), limit);
      },
      close: async () => database.close(),
    };
  },
};

/** By the name that the plugin's `source.type` has for it. */
export const SOURCES = { postgresql, mysql, mongodb, sqlite };
