/**
 * Runs a database server below a keeper, this file run by another Node, that ends it and deletes its data as soon as
 * the pipe from the process that asked for it breaks: so nothing is left behind, however that process ends.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Stop } from '../workspace.mjs';

const SELF = fileURLToPath(import.meta.url);

/** Lets `work` start a server in a folder of its own, which goes away with the server or when that fails. */
export async function inHome(name, work) {
  const home = mkdtempSync(join(tmpdir(), `data-sync-${name}-`));
  try {
    return await work(home);
  } catch (error) {
    rmSync(home, { recursive: true, force: true });
    throw error;
  }
}

export function freePort() {
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

/**
 * Starts a keeper for a server, and waits until the server answers. `stop` ends both. `restart` kills the server as a
 * crash does, and starts it again with the data that it left; `meanwhile` runs while no server has the data open.
 *
 * @param {{ home: string, server: string[], port: number, signal: string, user?: { uid?: number, gid?: number } }} task
 *   `signal` ends the server; its `home` is deleted then.
 * @returns {Promise<{ stop: () => Promise<void>, restart: (meanwhile?: () => unknown) => Promise<void> }>}
 */
export async function keep(task) {
  // A group of its own: an interrupt from the terminal is for the process that uses the server, which ends us in time.
  const keeper = spawn(process.execPath, [SELF, JSON.stringify(task)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => keeper.on('close', resolve));
  const lines = createInterface(keeper.stdout);
  const heard = async (word) => {
    const line = await Promise.race([
      new Promise((resolve) => lines.once('line', resolve)),
      gone.then(() => 'it ended'),
    ]);
    if (line !== word) throw new Stop(`${task.server[0]} is not ${word}: ${line}`);
  };
  await heard('ready');
  // Whoever forgets to stop it may still end.
  keeper.unref();
  keeper.stdin.unref();
  keeper.stdout.unref();
  return {
    async stop() {
      keeper.ref();
      keeper.stdin.end();
      await gone;
    },
    async restart(meanwhile = () => {}) {
      keeper.stdout.ref();
      try {
        const dead = heard('gone');
        keeper.stdin.write('kill\n');
        await dead;
        await meanwhile();
        const ready = heard('ready');
        keeper.stdin.write('start\n');
        await ready;
      } finally {
        keeper.stdout.unref();
      }
    },
  };
}

/** What the keeper does. */
async function keepServer({ home, user, server: [command, ...args], port, signal }) {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
  const tell = (word) => process.stdout.write(`${word}\n`);
  let server;
  let log = '';
  /** Whether a restart is under way, and the server may be gone. */
  let restarting = false;
  let stopping = false;
  const end = () => {
    rmSync(home, { recursive: true, force: true });
    if (!stopping) tell(log.trim().replaceAll('\n', '; ') || 'it ended at once');
    process.exit();
  };
  const stop = () => {
    stopping = true;
    if (!server) return end();
    server.kill(signal);
    setTimeout(() => server?.kill('SIGQUIT'), 5000).unref();
  };
  const start = async () => {
    restarting = false;
    // A server that heeds its stdin learns by it when a signal ends the keeper at once.
    server = spawn(command, args, { ...user, cwd: home, stdio: ['pipe', 'ignore', 'pipe'] });
    server.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-4000);
    });
    const gone = () => {
      if (!server) return;
      server = undefined;
      if (stopping || !restarting) end();
      else tell('gone');
    };
    // Closed is its stderr only when the processes that it forked are gone too, and nobody has the data open.
    server.on('error', gone).on('close', gone);
    const deadline = Date.now() + 30_000;
    while (!(await answers(port))) {
      if (Date.now() > deadline) return stop();
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    tell('ready');
  };
  process.stdin.on('error', stop);
  createInterface(process.stdin)
    .on('line', (word) => {
      if (word === 'start') return start();
      restarting = true;
      server?.kill('SIGKILL');
    })
    .on('close', stop);
  process.stdout.on('error', stop);
  await start();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await keepServer(JSON.parse(process.argv[2]));
}
