import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Stop } from '../workspace.mjs';

/** A program beside this file, which says lines of JSON and ends when its stdin does. */
export class Program {
  #child;
  #lines;

  constructor(script, args, flags = []) {
    const path = fileURLToPath(new URL(script, import.meta.url));
    this.#child = spawn(process.execPath, [...flags, path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => this.#child.on('close', (code, signal) => resolve(signal ?? code)));
  }

  async line() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Stop(`${this.#child.spawnargs[1]} ended early: ${await this.ended}`);
    return JSON.parse(value);
  }

  stop() {
    this.#child.stdin.end();
  }

  kill() {
    this.#child.kill('SIGKILL');
  }
}
