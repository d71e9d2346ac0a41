/**
 * The process of a D1 or StarbaseDB server: workerd with a Worker of ours, and before it a front that tests can tell
 * what is to go wrong. `node run.mjs '{"kind":"d1","port":…,"home":…,"secrets":{…}}'`; it ends with its stdin.
 */

import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { Agent, createServer, request as send } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Control } from './control.mjs';

/** How many databases there are for D1: a binding of each has to be there from the start, and takes 1 MB of memory. */
const DATABASES = 300;

const { kind, port, home, secrets } = JSON.parse(process.argv[2]);

// For what Miniflare keeps beside the data.
process.env.TMPDIR = home;
process.env.TEMP = home;
const { Miniflare } = await import('miniflare');

const KINDS = {
  d1: {
    control: '/control/databases',
    path: /^\/client\/v4\/accounts\/[^/]+\/d1\/database\/([^/]+)\//,
    options: {
      d1Databases: Object.fromEntries(Array.from({ length: DATABASES }, (_, index) => [`D${index}`, `D${index}`])),
      d1Persist: join(home, 'data'),
    },
  },
  starbasedb: {
    control: '/control',
    path: /^\/([^/]+)\//,
    options: {
      durableObjects: { INSTANCES: { className: 'Instance', useSQLite: true } },
      durableObjectsPersist: join(home, 'data'),
    },
  },
};

const { control, path, options } = KINDS[kind];
const miniflare = new Miniflare({
  modules: true,
  script: readFileSync(new URL(`${kind}.mjs`, import.meta.url), 'utf8'),
  compatibilityDate: '2026-04-01',
  bindings: secrets,
  host: '127.0.0.1',
  port: 0,
  cf: false,
  ...options,
});

/** Ends workerd too: Miniflare kills it when this process exits in good order. */
async function end() {
  await miniflare.dispose().catch(() => {});
  // When the keeper is gone, nobody else deletes it.
  rmSync(home, { recursive: true, force: true });
  process.exit();
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, end);
process.stdin.on('end', end).on('error', end).resume();
process.stderr.on('error', end);

const worker = await miniflare.ready;
// workerd closes a connection that nobody uses for 5 s: a request must not meet that.
const agent = new Agent({ keepAlive: true, timeout: 2000 });

/** Asks the Worker. */
function ask(method, url, headers = {}, body = undefined) {
  return new Promise((resolve, reject) => {
    const { host, connection, 'accept-encoding': encoding, 'transfer-encoding': transfer, ...rest } = headers;
    const length = body ? { 'content-length': body.length } : {};
    const asked = send(new URL(url, worker), { agent, method, headers: { ...rest, ...length } }, async (answer) => {
      try {
        const type = answer.headers['content-type'];
        resolve({
          status: answer.statusCode,
          headers: type ? { 'content-type': type } : {},
          rows: Number(answer.headers['x-rows'] ?? 0),
          body: await buffer(answer),
        });
      } catch (error) {
        reject(error);
      }
    });
    asked.on('error', reject).end(body);
  });
}

/** The databases of which tests know: with D1 those that were handed out, else all that were asked for. */
const databases = new Map();
const unused = Array.from({ length: DATABASES }, (_, index) => `D${index}`).reverse();

function databaseOf(id) {
  if (!databases.has(id) && kind !== 'd1') databases.set(id, { control: new Control() });
  return databases.get(id);
}

async function controlled(method, id, what, body) {
  if (method === 'POST' && id === undefined && kind === 'd1') {
    const binding = unused.pop();
    if (!binding) return [503, { error: `all ${DATABASES} databases are in use; give some back with DELETE` }];
    const name = randomUUID();
    databases.set(name, { control: new Control(), binding });
    return [200, { id: name }];
  }
  const database = id && databaseOf(id);
  if (!database) return [404, { error: 'no such database' }];
  if (method === 'DELETE' && what === undefined) {
    databases.delete(id);
    await (kind === 'd1' ? emptied(database.binding) : ask('DELETE', `/${id}/`));
    return [200, {}];
  }
  if (method === 'GET' && what === 'requests') return [200, database.control.counts];
  if (method === 'GET' && what === 'file' && kind === 'starbasedb') return [200, { path: await fileOf(id) }];
  if (method !== 'PUT' || (what !== 'faults' && what !== 'limit')) return [404, { error: 'no such control' }];
  database.control[what] = JSON.parse(body.toString());
  return [200, {}];
}

/** The file of an instance, made if it isn't there. */
async function fileOf(instance) {
  const name = `${(await ask('GET', `/${instance}/`)).body}.sqlite`;
  const found = readdirSync(options.durableObjectsPersist, { recursive: true }).find((path) => path.endsWith(name));
  return join(options.durableObjectsPersist, found);
}

/** Drops everything in a D1 database and puts it back to the unused ones. */
async function emptied(binding) {
  const headers = { authorization: `Bearer ${secrets.TOKEN}`, 'x-database': binding };
  const url = `/client/v4/accounts/${secrets.ACCOUNT}/d1/database/${binding}/query`;
  const query = async (sql) => {
    const { status, body } = await ask('POST', url, headers, Buffer.from(JSON.stringify({ sql })));
    if (status !== 200) throw new Error(`${binding} can't be emptied: ${body}`);
    return JSON.parse(body.toString()).result[0].results;
  };
  const name = (text) => `"${text.replaceAll('"', '""')}"`;
  // Views first: a table can't go while a view is broken. Tables of a virtual table go with it.
  const found = await query(`
    SELECT type, name FROM pragma_table_list
    WHERE schema = 'main' AND type IN ('view', 'virtual', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
      AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY type DESC`);
  const drops = found.map(({ type, name: text }) => `DROP ${type === 'view' ? 'VIEW' : 'TABLE'} ${name(text)};`);
  if (drops.length > 0) await query(`PRAGMA defer_foreign_keys = on;\n${drops.join('\n')}`);
  unused.unshift(binding);
}

async function answered(request) {
  const { pathname } = new URL(request.url, 'http://front');
  const body = await buffer(request);
  if (pathname === control || pathname.startsWith(`${control}/`)) {
    const [id, what] = pathname.slice(control.length + 1).split('/');
    const [status, answer] = await controlled(request.method, id || undefined, what, body);
    return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(answer)) };
  }
  const database = databaseOf(path.exec(pathname)?.[1]);
  const headers = { ...request.headers, 'x-database': database?.binding ?? '' };
  const run = () => ask(request.method, request.url, headers, body);
  return database ? database.control.answer(run) : run();
}

const server = createServer(async (request, response) => {
  try {
    const { status, headers, body, truncate } = await answered(request);
    response.writeHead(status, { ...headers, 'content-length': body.length });
    if (truncate === undefined || truncate >= body.length) return response.end(body);
    response.write(body.subarray(0, truncate), () => response.destroy());
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
// Clients keep connections for as long as they like.
server.keepAliveTimeout = 0;
server.listen(port, '127.0.0.1');
