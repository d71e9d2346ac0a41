/** Runs programs as processes of their own and tells what they took. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { outcome, Stop } from '../scripts/workspace.mjs';

const GNU_TIME = process.platform === 'darwin' ? 'gtime' : 'time';
const USAGE = new URL('usage.mjs', import.meta.url).href;

/**
 * Runs a command to its end.
 *
 * A program of ours tells its use of CPU and memory itself; of any other command GNU time tells it: of all its processes
 * together the CPU, of the largest the memory. A command that `tells` prints as JSON what one part of its work took; its
 * memory is then of no interest.
 *
 * @param {{ node?: string[], command?: string[], env?: Record<string, string>, tells?: boolean }} what
 * @returns {Promise<{ wall: number, cpu: number, memory?: number }>} seconds, seconds of user and system time, bytes
 */
export async function measure({ node, command, env, tells }) {
  if (tells) return ownFigures(command);
  const folder = mkdtempSync(join(tmpdir(), 'data-sync-bench-'));
  try {
    const told = join(folder, 'usage');
    if (node) {
      const wall = await wallTime(process.execPath, ['--import', USAGE, ...node], { BENCH_USAGE: told });
      return { wall, ...JSON.parse(readFileSync(told, 'utf8')) };
    }
    const wall = await wallTime(GNU_TIME, ['-o', told, '-f', '%U %S %M', ...command], env);
    const [user, system, kilobytes] = readFileSync(told, 'utf8').trim().split(' ').map(Number);
    return { wall, cpu: user + system, memory: kilobytes * 1024 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a program says on its stderr is kept to itself unless it fails. */
function wallTime(file, args, env = {}) {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      said += chunk;
    });
    let wall;
    child.on('error', (error) => reject(new Stop(`${file} can't be run: ${error.message}`)));
    child.on('exit', () => {
      wall = (performance.now() - begin) / 1000;
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve(wall);
      else reject(new Stop(`${file} ${args.join(' ')}: ${signal ?? `exit code ${code}`}\n${said.trim().slice(-2000)}`));
    });
  });
}

async function ownFigures([file, ...args]) {
  const { code, stdout, stderr } = await outcome(file, args);
  if (code !== 0) throw new Stop(`${file} ${args.join(' ')}: ${stderr.trim()}`);
  return JSON.parse(stdout);
}

/** A program that has loaded the table and stays, to be asked for one sync after the other. */
export class Session {
  #child;
  #lines;

  constructor(args) {
    this.#child = spawn(process.execPath, [...args, '--stay'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Stop(`${this.#child.spawnargs.slice(1).join(' ')} ended early`);
    return JSON.parse(value);
  }

  /** Waits for the load. */
  async ready() {
    await this.#answer();
    return this;
  }

  /** Lets it sync once. @returns {Promise<{ wall: number, cpu: number, rows: number }>} */
  async sync() {
    this.#child.stdin.write('sync\n');
    return this.#answer();
  }

  async end() {
    const gone = new Promise((resolve) => this.#child.on('close', resolve));
    this.#child.stdin.end();
    await gone;
  }
}
