import { randomBytes } from 'node:crypto';
import Database from 'better-sqlite3';
import type { SourceOptions } from '../../index.js';

/** A database of a test's own in SQLite's family. */
export interface Place {
  source: SourceOptions;
  /** The same with a token that nobody was given. */
  refused?: SourceOptions;
  /** What must be in no log and no message. */
  secrets: string[];
  /** Runs statements. */
  run(sql: string): Promise<void>;
  drop(): Promise<void>;
}

const name = () => `t${randomBytes(8).toString('hex')}`;

/** The addresses in a variable. */
function servers(variable: string): URL[] {
  const urls = process.env[variable]?.split(' ').filter(Boolean) ?? [];
  if (urls.length === 0) throw new Error(`${variable} is not set; run the tests with npm test`);
  return urls.map((url) => new URL(url));
}

/** An address without user and password, which `fetch` doesn't take. */
function bare(url: URL): URL {
  const address = new URL(url);
  address.username = '';
  address.password = '';
  return address;
}

async function send(method: string, url: URL, headers: Record<string, string>, body: unknown): Promise<string> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url.pathname}: ${response.status} ${text}`);
  return text;
}

async function turso(): Promise<Place> {
  const [server, guarded] = servers('DATA_SYNC_TEST_TURSO');
  const [admin] = servers('DATA_SYNC_TEST_TURSO_ADMIN');
  if (!server || !guarded || !admin) throw new Error('DATA_SYNC_TEST_TURSO needs a server with tokens, too');
  const database = name();
  await send('POST', new URL(`v1/namespaces/${database}/create`, admin), {}, {});
  return {
    source: { type: 'turso', uri: `http://${database}.localhost:${server.port}/` },
    refused: { type: 'turso', uri: bare(guarded).href, token: 'wrong-secret' },
    secrets: [guarded.username],
    async run(sql) {
      const requests = [{ type: 'sequence', sql }, { type: 'close' }];
      // The database is named in a header, because not every resolver knows names below localhost.
      const headers = { 'x-namespace-bin': Buffer.from(database).toString('base64').replaceAll('=', '') };
      const { results } = JSON.parse(await send('POST', new URL('v3/pipeline', bare(server)), headers, { requests }));
      if (results[0].type !== 'ok') throw new Error(results[0].error.message);
    },
    async drop() {
      await send('DELETE', new URL(`v1/namespaces/${database}`, admin), {}, {});
    },
  };
}

async function d1(): Promise<Place> {
  const [server] = servers('DATA_SYNC_TEST_D1') as [URL];
  const { username: account_id, password: api_key } = server;
  const base = bare(server);
  const { id: database_id } = JSON.parse(await send('POST', new URL('control/databases', base), {}, {}));
  const source = { type: 'd1' as const, api_key, account_id, database_id, url: base.href };
  return {
    source,
    refused: { ...source, api_key: 'wrong-secret' },
    secrets: [api_key],
    async run(sql) {
      const url = new URL(`client/v4/accounts/${account_id}/d1/database/${database_id}/raw`, base);
      await send('POST', url, { authorization: `Bearer ${api_key}` }, { sql });
    },
    async drop() {
      await send('DELETE', new URL(`control/databases/${database_id}`, base), {}, {});
    },
  };
}

async function starbasedb(): Promise<Place> {
  const [server] = servers('DATA_SYNC_TEST_STARBASEDB') as [URL];
  const instance = name();
  const source = { type: 'starbasedb' as const, uri: new URL(instance, bare(server)).href, token: server.username };
  return {
    source,
    refused: { ...source, token: 'wrong-secret' },
    secrets: [server.username, server.password],
    async run(sql) {
      await send('POST', new URL(`${source.uri}/query`), { authorization: `Bearer ${source.token}` }, { sql });
    },
    async drop() {
      await send('DELETE', new URL(`control/${instance}`, bare(server)), {}, {});
    },
  };
}

/** A StarbaseDB to write to; it is emptied when its test ends. */
export function deployed() {
  const [server] = servers('DATA_SYNC_TEST_STARBASEDB') as [URL];
  const instance = name();
  const url = new URL(instance, bare(server)).href;
  const token = server.username;
  return {
    target: { type: 'starbasedb' as const, url, token },
    /** The rows of a statement. */
    async ask(sql: string): Promise<unknown[][]> {
      const answer = await send('POST', new URL(`${url}/query/raw`), { authorization: `Bearer ${token}` }, { sql });
      return JSON.parse(answer).result.rows;
    },
    async [Symbol.asyncDispose]() {
      await send('DELETE', new URL(`control/${instance}`, bare(server)), {}, {});
    },
  };
}

/** A file at `path`, which is open only while a test changes it: the addon reads it in the same process. */
function file(path: string): Place {
  return {
    source: { type: 'sqlite', path },
    secrets: [],
    async run(sql) {
      const database = new Database(path);
      try {
        database.exec(sql);
      } finally {
        database.close();
      }
    },
    async drop() {},
  };
}

/** Makes a database of each kind; one that is a file, at `path`. */
export const PLACES: { kind: string; make(path: string): Promise<Place> }[] = [
  { kind: 'Turso', make: turso },
  { kind: 'D1', make: d1 },
  { kind: 'StarbaseDB', make: starbasedb },
  { kind: 'a SQLite file', make: async (path) => file(path) },
];
