/** What speaks MongoDB's protocol: SecantusDB from PyPI, a stand-in, because MongoDB itself comes from no registry. */

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcome, root, Stop } from '../workspace.mjs';
import { freePort, inHome, keep } from './keeper.mjs';

const VERSION = '0.7.0b3';
const WINDOWS = process.platform === 'win32';
const PYTHON = WINDOWS ? 'python' : 'python3';
const FOLDER = join(root, '.servers', `secantusdb-${VERSION}`);

/** The Python in a virtual environment. */
const pythonOf = (folder) => (WINDOWS ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python'));

/** Makes a user in data that no server has open, for a server that asks everyone who they are. */
const ADD_USER = `
import sys, pymongo
from secantus.server import SecantusDBServer
with SecantusDBServer(storage_path=sys.argv[1], cache_size="64M") as server:
    client = pymongo.MongoClient("127.0.0.1", server.port, directConnection=True)
    client.admin.command("createUser", "root", pwd=sys.stdin.read(), roles=["root"])
    client.close()
`;

/** One function for each server to start: one that lets everybody in, and with `all` one that asks for a password. */
export function mongodbServers({ all }) {
  const ready = environment();
  return [false, ...(all ? [true] : [])].map((auth) => async () => startSecantus(await ready, auth));
}

/** The virtual environment with SecantusDB, made where it is missing. Gives its Python. */
async function environment() {
  if ((await outcome(pythonOf(FOLDER), ['--version'])).code === 0) return pythonOf(FOLDER);
  rmSync(FOLDER, { recursive: true, force: true });
  process.stdout.write(`Installing SecantusDB ${VERSION}\n`);
  mkdirSync(join(root, '.servers'), { recursive: true });
  // Made aside and moved, so that what has the right name is always complete.
  const aside = mkdtempSync(join(root, '.servers', 'new-'));
  const made = await outcome(PYTHON, ['-m', 'venv', aside]);
  const remedy = 'or set DATA_SYNC_TEST_MONGODB to the URL of a server';
  if (made.code !== 0) {
    rmSync(aside, { recursive: true, force: true });
    throw new Stop(
      `${PYTHON} -m venv failed; install Python 3.10 or newer with venv (Debian: python3-venv), ${remedy}: ${told(made)}`,
    );
  }
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `secantusdb==${VERSION}`];
  const installed = await outcome(pythonOf(aside), pip);
  if (installed.code !== 0) {
    rmSync(aside, { recursive: true, force: true });
    throw new Stop(
      `pip can't install secantusdb ${VERSION} from PyPI; check the network and pip's settings, ${remedy}: ${told(installed)}`,
    );
  }
  try {
    renameSync(aside, FOLDER);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(FOLDER)) throw error;
  }
  return pythonOf(FOLDER);
}

const told = ({ stdout, stderr }) => (stderr.trim() || stdout.trim()).slice(-1000);

function startSecantus(python, auth) {
  return inHome('mongodb', async (home) => {
    const data = join(home, 'data');
    const password = randomBytes(12).toString('hex');
    if (auth) {
      const added = await outcome(python, ['-c', ADD_USER, data], { cwd: home, input: password });
      if (added.code !== 0) throw new Stop(`SecantusDB took no user: ${told(added)}`);
    }
    const settings = join(home, 'secantusd.toml');
    // Named, so that no file of the user's is read.
    writeFileSync(settings, '');
    const port = await freePort();
    const address = ['--host', '127.0.0.1', '--port', String(port)];
    const storage = ['--config', settings, '--storage-path', data, '--cache-size', '256M'];
    const server = [python, '-m', 'secantus', ...address, ...storage, ...(auth ? ['--auth'] : [])];
    // Nothing of the data is to be kept, and an orderly end takes seconds.
    const { stop, restart } = await keep({ home, server, port, signal: 'SIGKILL' });
    return {
      url: auth ? `mongodb://root:${password}@127.0.0.1:${port}/?authSource=admin` : `mongodb://127.0.0.1:${port}/`,
      version: `SecantusDB ${VERSION}${auth ? ' with passwords' : ''}`,
      data,
      stop,
      restart,
    };
  });
}
