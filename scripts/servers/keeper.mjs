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
 * Starts a keeper for a server, and waits until the server answers. Gives the function that ends both.
 *
 * @param {{ home: string, server: string[], port: number, signal: string, user?: { uid?: number, gid?: number } }} task
 *   `signal` ends the server; its `home` is deleted then.
 * @returns {Promise<() => Promise<void>>}
 */
export async function keep(task) {
  // A group of its own: an interrupt from the terminal is for the process that uses the server, which ends us in time.
  const keeper = spawn(process.execPath, [SELF, JSON.stringify(task)], {
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
async function keepServer({ home, user, server: [command, ...args], port, signal }) {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
  let log = '';
  let stopping = false;
  // A server that heeds its stdin learns by it when a signal ends the keeper at once.
  const server = spawn(command, args, { ...user, cwd: home, stdio: ['pipe', 'ignore', 'pipe'] });
  server.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-4000);
  });
  const gone = new Promise((resolve) => {
    server.on('error', resolve).on('close', resolve);
  });
  const stop = () => {
    stopping = true;
    server.kill(signal);
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

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await keepServer(JSON.parse(process.argv[2]));
}
