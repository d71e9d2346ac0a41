/**
 * A Worker that answers as StarbaseDB does, with its SQLite in a Durable Object as there, and with what is odd in it: for
 * example is nothing atomic but a statement. Unlike there, the first part of the path names one of many instances.
 */

import { DurableObject } from 'cloudflare:workers';

/** The longest string or row that a Durable Object takes; workerd alone would take more. */
const LONGEST = 2_000_000;

/** The tables that StarbaseDB and the plugins that come with it make for themselves. */
const OWN_TABLES = `
CREATE TABLE IF NOT EXISTS tmp_cache (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT, "timestamp" REAL NOT NULL, "ttl" INTEGER NOT NULL,
  "query" TEXT UNIQUE NOT NULL, "results" TEXT
);
CREATE TABLE IF NOT EXISTS tmp_allowlist_queries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sql_statement TEXT NOT NULL, source TEXT DEFAULT 'external'
);
CREATE TABLE IF NOT EXISTS tmp_allowlist_rejections (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sql_statement TEXT NOT NULL, source TEXT DEFAULT 'external',
  created_at TEXT DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS tmp_rls_policies (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "actions" TEXT NOT NULL CHECK(actions IN ('SELECT', 'UPDATE', 'INSERT', 'DELETE')),
  "schema" TEXT, "table" TEXT NOT NULL, "column" TEXT NOT NULL, "value" TEXT NOT NULL,
  "value_type" TEXT NOT NULL DEFAULT 'string', "operator" TEXT DEFAULT '='
);
CREATE TABLE IF NOT EXISTS tmp_query_log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sql_statement TEXT NOT NULL, duration INTEGER NOT NULL,
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS tmp_cron_tasks (
  name TEXT NOT NULL UNIQUE PRIMARY KEY, cron_tab TEXT NOT NULL, payload TEXT, callback_host TEXT, is_active INTEGER
);
`;

export class Instance extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.ctx.storage.sql.exec(OWN_TABLES);
  }

  query({ sql, params }) {
    // An object of parameters is taken, and then forgotten.
    const cursor = this.ctx.storage.sql.exec(sql, ...(params?.length ? params : []));
    return { columns: cursor.columnNames, rows: Array.from(cursor.raw()) };
  }

  async clear() {
    await this.ctx.storage.deleteAll();
    this.ctx.storage.sql.exec(OWN_TABLES);
  }
}

export default {
  async fetch(request, env) {
    // Read in any case: workerd closes a connection with something unread.
    const body = await request.text();
    const url = new URL(request.url);
    const [, instance, path] = /^\/([^/]+)(\/.*)$/.exec(url.pathname) ?? [];
    const stub = env.INSTANCES.get(env.INSTANCES.idFromName(instance ?? ''));
    if (request.method === 'GET' && path === '/') {
      await stub.query({ sql: 'SELECT 1' });
      return new Response(stub.id.toString());
    }
    if (request.method === 'DELETE' && path === '/') {
      await stub.clear();
      return new Response(null, { status: 204 });
    }
    const source = request.headers.get('x-starbase-source') ?? url.searchParams.get('source');
    if (source?.toLowerCase().trim() === 'external') return failed(400, 'No external data sources available.');
    const token = request.headers.get('authorization')?.replace('Bearer ', '');
    if (!token) return failed(401, 'Unauthorized request');
    if (token !== env.ADMIN && token !== env.CLIENT) return failed(400, 'Unauthorized request');
    const form = path === '/query/raw' ? raw : path === '/query' ? plain : undefined;
    if (!form || request.method !== 'POST') return failed(404, 'Not found');
    if (!request.headers.get('content-type')?.includes('application/json')) {
      return failed(400, 'Content-Type must be application/json.');
    }
    try {
      return await answer(stub, JSON.parse(body), form);
    } catch (error) {
      return failed(500, error.message);
    }
  },
};

async function answer(stub, { sql, params, transaction }, form) {
  const several = Array.isArray(transaction) && transaction.length > 0;
  const queries = several ? transaction.map(({ sql, params }) => ({ sql, params })) : [{ sql, params }];
  for (const query of queries) {
    const wrong = invalid(query);
    if (wrong && several) throw new Error(`${wrong[0]} in transaction.${wrong[1]}`);
    if (wrong) return failed(400, `${wrong[0]}.${wrong[1]}`);
  }
  const results = [];
  let rows = 0;
  // One after the other, and what ran before an error stays.
  for (const query of queries) {
    if (Array.isArray(query.params) && query.params.some((value) => length(value) > LONGEST)) {
      throw new Error('string or blob too big: SQLITE_TOOBIG');
    }
    const result = await stub.query(query);
    rows += result.rows.length;
    results.push(form(result));
  }
  return Response.json({ result: several ? results : results[0] }, { headers: { 'x-rows': String(rows) } });
}

function invalid({ sql, params }) {
  if (typeof sql !== 'string' || !sql.trim()) return ['Invalid or empty "sql" field', ''];
  if (params !== undefined && typeof params !== 'object') {
    return ['Invalid "params" field', ' Must be an array or object.'];
  }
  return undefined;
}

const length = (value) => (typeof value === 'string' ? new TextEncoder().encode(value).length : 0);

function failed(status, error) {
  return Response.json({ error }, { status });
}

/** Rows as objects, in which of equally named columns one is left. */
function plain({ columns, rows }) {
  return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]])));
}

/** Rows as arrays, but made from those objects: without a row there are no columns. */
function raw(result) {
  const objects = plain(result);
  const columns = Object.keys(objects[0] ?? {});
  const rows = objects.map((object) => columns.map((name) => object[name]));
  return { columns, rows, meta: { rows_read: rows.length, rows_written: 0 } };
}
