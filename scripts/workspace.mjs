/** The checkout: where it is, what it needs before anything can run, and how commands are run in it. */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What a tool of ours can't go on without; told without a stack. */
export class Stop extends Error {}

/** Runs `main`, and turns its failure into one line and the exit code 1. */
export async function entry(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Stop ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
}

/** Runs a command that belongs to the terminal; rejects when it fails. */
export async function run(command, args, { env = {}, cwd = root } = {}) {
  const code = await status(command, args, { env, cwd });
  if (code !== 0) throw new Stop(`${command} ${args.join(' ')}: exit code ${code}`);
}

/** The same, but tells the exit code. */
export function status(command, args, { env = {}, cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    // npm and npx are batch files on Windows, which only a shell can run.
    const shell = process.platform === 'win32' && /^np[mx]$/.test(command);
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: 'inherit', shell });
    const pass = (signal) => child.kill(signal);
    process.on('SIGINT', pass).on('SIGTERM', pass);
    const end = () => process.off('SIGINT', pass).off('SIGTERM', pass);
    child.on('error', (error) => {
      end();
      reject(new Stop(`${command} can't be run: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      end();
      resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

/** Runs a command out of sight, with `input` on its stdin. A command that can't be run fails with the reason as `stderr`. */
export function outcome(command, args, { env = {}, input = '', ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, env: { ...process.env, ...env } });
    const heard = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (chunk) => {
        heard[name] += chunk;
      });
    }
    child.on('error', (error) =>
      resolve({ code: null, stdout: '', stderr: `${command} can't be run: ${error.message}` }),
    );
    child.on('close', (code) => resolve({ code, ...heard }));
    // A command that ends before it has read everything says why itself.
    child.stdin.on('error', () => {}).end(input);
  });
}

/** Installs the npm packages when they are missing or older than the lock file. */
export async function ensurePackages() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs) return;
  await run('npm', ['ci', '--no-audit', '--no-fund']);
}

/** The triple of this machine, as Rust names it. Also finds a Rust that is installed but not in the path. */
export function hostTriple() {
  const ask = () => spawnSync('rustc', ['-vV'], { encoding: 'utf8' });
  let answer = ask();
  if (answer.error) {
    process.env.PATH += delimiter + join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin');
    answer = ask();
  }
  const triple = /^host: (.+)$/m.exec(answer.stdout ?? '')?.[1];
  if (!triple) throw new Stop('Rust is needed to build the addon; install the stable toolchain from https://rustup.rs');
  return triple;
}

/** The file of a command that an npm package brings, to be run by this Node. */
export function packaged(name, file) {
  return join(root, 'node_modules', name, file);
}

/** Runs one named step and says how long it took. */
export async function step(name, work) {
  process.stdout.write(`\n=== ${name}\n`);
  const start = performance.now();
  let mark = 'failed';
  try {
    const result = await work();
    mark = 'ok';
    return result;
  } finally {
    process.stdout.write(`=== ${name}: ${mark}, ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  }
}
