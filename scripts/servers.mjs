/**
 * Starts real database servers for tests, the demo and benchmarks, on free loopback ports and with fresh data.
 *
 * As a command: `node scripts/servers.mjs [--only KIND,KIND] -- COMMAND…` runs the command with their addresses in its
 * environment, as URLs separated by spaces:
 * - `DATA_SYNC_TEST_POSTGRES`, `DATA_SYNC_TEST_MYSQL` and `DATA_SYNC_TEST_MONGODB`: of a superuser;
 *   `DATA_SYNC_TEST_PGBOUNCER`, of a pooler in front of the first PostgreSQL, where there is one; and
 *   `DATA_SYNC_TEST_MYSQL_CA`, the file of the authority that MariaDB's certificate for `localhost` is of;
 * - `DATA_SYNC_TEST_TURSO`: of a server without tokens that has many databases, and of one with, `http://TOKEN:READING-TOKEN@…`; and
 *   `DATA_SYNC_TEST_TURSO_ADMIN`, the URL by which databases are made in the first one;
 * - `DATA_SYNC_TEST_D1`: `http://ACCOUNT:TOKEN@…`, and `DATA_SYNC_TEST_STARBASEDB`: `http://ADMIN:CLIENT@…`; both have
 *   more paths below `/control/` for tests, which `servers/workerd/run.mjs` tells of.
 *
 * Of a kind whose variable is set already, nothing is started.
 */

import { pathToFileURL } from 'node:url';
import { d1Servers } from './servers/d1.mjs';
import { mariadbServers } from './servers/mariadb.mjs';
import { mongodbServers } from './servers/mongodb.mjs';
import { postgresServers } from './servers/postgres.mjs';
import { starbasedbServers } from './servers/starbasedb.mjs';
import { tursoServers } from './servers/turso.mjs';
import { ensurePackages, entry, Stop, status } from './workspace.mjs';

/** The kinds of server, by the name that the plugin's `source.type` has for them. */
const KINDS = {
  postgresql: { variable: 'DATA_SYNC_TEST_POSTGRES', servers: postgresServers },
  mysql: { variable: 'DATA_SYNC_TEST_MYSQL', servers: mariadbServers },
  mongodb: { variable: 'DATA_SYNC_TEST_MONGODB', servers: mongodbServers },
  turso: { variable: 'DATA_SYNC_TEST_TURSO', servers: tursoServers },
  d1: { variable: 'DATA_SYNC_TEST_D1', servers: d1Servers },
  starbasedb: { variable: 'DATA_SYNC_TEST_STARBASEDB', servers: starbasedbServers },
};

/** Those of the kinds whose servers are not in the environment. */
export function missingKinds(only = Object.keys(KINDS)) {
  return only.filter((kind) => !process.env[KINDS[kind].variable]);
}

/**
 * Starts servers of the kinds in `only`, all at the same time: of each the one that tests use first, and with `all` also
 * the other ones that there are.
 *
 * @returns {Promise<{ servers: { kind: string, url: string, version: string }[], env: Record<string, string>, stop: () => Promise<void> }>}
 */
export async function startServers({ only = Object.keys(KINDS), all = true } = {}) {
  const results = await Promise.allSettled(
    only.flatMap((kind) => KINDS[kind].servers({ all }).map(async (start) => ({ kind, ...(await start()) }))),
  );
  const servers = results.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const failed = results.find(({ status }) => status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  const env = {};
  for (const kind of only) {
    const urls = servers.filter((server) => server.kind === kind).map(({ url }) => url);
    env[KINDS[kind].variable] = urls.join(' ');
  }
  Object.assign(env, ...servers.map((server) => server.env));
  return { servers, env, stop };
}

/** Runs `work` with servers that are there already, or with servers of its own; says which. */
export async function withServers(work, { only } = {}) {
  const missing = missingKinds(only);
  if (missing.length === 0) return work({});
  const { servers, env, stop } = await startServers({ only: missing });
  try {
    process.stdout.write(`Started ${servers.map((server) => server.version).join(', ')}\n`);
    return await work(env);
  } finally {
    await stop();
  }
}

const USAGE = `Usage: node scripts/servers.mjs [--only ${Object.keys(KINDS).join(',')}] -- COMMAND [ARGUMENT…]`;

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  entry(async () => {
    const end = process.argv.indexOf('--', 2);
    const [flag, kinds, ...more] = process.argv.slice(2, end);
    const [command, ...args] = process.argv.slice(end + 1);
    const only = kinds?.split(',');
    const valid = flag === undefined || (flag === '--only' && only?.every((kind) => Object.hasOwn(KINDS, kind)));
    if (end < 0 || !valid || more.length > 0 || !command) throw new Stop(USAGE);
    await ensurePackages();
    return withServers((env) => status(command, args, { env }), { only });
  });
}
