import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from '../support/child.js';

/** Times that the Worker tries a write again which finds the database locked, and milliseconds between two of them. */
const [TRIES, PAUSE] = [40, 25];

/** A Worker with the shape of StarbaseDB's: one Durable Object whose SQLite answers queries. */
const WORKER = `
  import { DurableObject } from 'cloudflare:workers';
  export class StarbaseDBDurableObject extends DurableObject {
    async query(sql) { return this.ctx.storage.sql.exec(sql).toArray(); }
  }
  export default {
    async fetch(request, env) {
      const database = env.DATABASE.get(env.DATABASE.idFromName('sql-durable-object'));
      try {
        return Response.json({ result: await database.query(await request.text()) });
      } catch (error) {
        return Response.json({ error: error.message }, { status: 500 });
      }
    },
  };`;

/** In a process of its own, as `wrangler dev` is. */
const SCRIPT = `
  import { Miniflare } from 'miniflare';
  const [folder] = process.argv.slice(1);
  const miniflare = new Miniflare({
    name: 'starbasedb', modules: true, script: ${JSON.stringify(WORKER)}, compatibilityDate: '2026-04-01', cf: false,
    durableObjects: { DATABASE: { className: 'StarbaseDBDurableObject', useSQLite: true } },
    durableObjectsPersist: folder + '/.wrangler/state/v3/do',
  });
  const query = async (sql) => {
    const answer = await miniflare.dispatchFetch('http://worker/', { method: 'POST', body: sql });
    return answer.json();
  };
  process.once('disconnect', () => process.exit());
  process.on('message', async ({ id, sql, times }) => {
    const found = { last: undefined, retries: 0, failed: [] };
    for (let at = 1; at <= (times ?? 1); at++) {
      for (let tries = 0; ; tries++) {
        const { result, error } = await query(sql.replaceAll(':at', String(at)));
        found.last = result;
        if (!error) break;
        if (!error.includes('SQLITE_BUSY') || tries === ${TRIES}) { found.failed.push(error); break; }
        found.retries += 1;
        await new Promise((resolve) => setTimeout(resolve, ${PAUSE}));
      }
    }
    process.send({ id, ...found });
  });
  await miniflare.ready;
  process.send({ id: 0 });`;

interface Outcome {
  id: number;
  /** The last answer's rows. */
  last: Record<string, unknown>[];
  /** How often the database was locked. */
  retries: number;
  /** What was given up. */
  failed: string[];
}

/** A Worker that runs on this machine with its data below a folder, as by `wrangler dev` there. */
export class LocalWorker {
  #child: ChildProcess;
  #waiting = new Map<number, (outcome: Outcome) => void>();
  #lastId = 0;

  private constructor(folder: string) {
    const args = ['--input-type=module', '-e', SCRIPT, folder];
    this.#child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.on('message', (outcome: Outcome) => this.#waiting.get(outcome.id)?.(outcome));
    // What workerd says of its own start is of no interest.
    createInterface(this.#child.stderr as NodeJS.ReadableStream).on('line', () => {});
  }

  static async start(folder: string): Promise<LocalWorker> {
    const worker = new LocalWorker(folder);
    await worker.#answer(0);
    return worker;
  }

  #answer(id: number): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve);
      this.#child.once('exit', () => reject(new Error('The Worker ended')));
    });
  }

  /** Lets the Worker run a statement, or so many times one after the other, `:at` being the number of each. */
  query(sql: string, times = 1): Promise<Outcome> {
    const id = ++this.#lastId;
    const answer = this.#answer(id);
    this.#child.send({ id, sql, times });
    return answer;
  }

  async stop(): Promise<void> {
    this.#child.removeAllListeners('exit');
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.disconnect();
    await ended;
  }
}
