import { type ChildProcess, spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { DataSyncOptions } from '../../index.js';

/** The checkout. */
export const root = dirname(dirname(__dirname));

/** The environment without anything that names a source or a target. */
function bare(): NodeJS.ProcessEnv {
  const ours = (name: string) => name.startsWith('EXTERNAL_DB_') || name === 'STARBASEDB_DATABASE';
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours(name)));
}

/** A Node.js of its own that runs a script. */
export class Child {
  readonly process: ChildProcess;
  /** How it ended, with all it wrote. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
  #stdout = '';
  #stderr = '';
  #lines: string[] = [];
  #wake = () => {};

  /** In `script`, `DataSyncPlugin` is there, and `tell` writes a line of JSON. With `shell`, a shell command runs `"$@"`. */
  constructor(script: string, { cwd = root, env = {}, shell = '' } = {}) {
    const preamble = `
      const { DataSyncPlugin } = require(${JSON.stringify(root)});
      const tell = (value) => require('node:fs').writeSync(1, JSON.stringify(value) + '\\n');
      const fault = ({ code, message, table, retryable }) => ({ code, message, table, retryable });`;
    const node = [process.execPath, '-e', preamble + script];
    const [command, ...args] = (shell ? ['sh', '-c', shell, 'sh', ...node] : node) as [string, ...string[]];
    this.process = spawn(command, args, { cwd, env: { ...bare(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    if (this.process.stdout) {
      createInterface(this.process.stdout).on('line', (line) => {
        this.#stdout += `${line}\n`;
        this.#lines.push(line);
        this.#wake();
      });
    }
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        this.#wake();
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  /** The next line that it tells. */
  async line<Told>(): Promise<Told> {
    while (this.#lines.length === 0) {
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        throw new Error(`The child ended without a further word: ${this.#stderr}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return JSON.parse(this.#lines.shift() as string);
  }
}

/** Source text of a plugin with these options. */
export const pluginOf = (options: DataSyncOptions) => `new DataSyncPlugin(${JSON.stringify(options)})`;

/** Runs a sync in a process of its own and gives what it told: the statistics, or the error. */
export async function syncInChild<Told>(
  options: DataSyncOptions,
  place?: { cwd?: string; env?: Record<string, string>; shell?: string },
): Promise<Told> {
  const child = new Child(`${pluginOf(options)}.triggerSync().then(tell, (error) => tell(fault(error)));`, place);
  const told = await child.line<Told>();
  await child.ended;
  return told;
}
