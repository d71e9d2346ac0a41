import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { SourceOptions } from '../index.js';
import { d1 } from './sources/d1.js';
import type { DemoDatabase, DemoKind, Variables } from './sources/database.js';
import { mongodb } from './sources/mongodb.js';
import { mysql } from './sources/mysql.js';
import { postgresql } from './sources/postgresql.js';
import { sqlite } from './sources/sqlite.js';
import { starbasedb } from './sources/starbasedb.js';
import { turso } from './sources/turso.js';

const KINDS = { postgresql, mysql, mongodb, turso, d1, starbasedb, sqlite };
type KindName = keyof typeof KINDS;

/** The database that the demo runs against, and what the plugin needs to find it by itself. */
export interface DemoSource {
  database: DemoDatabase;
  expected: DemoKind['expected'];
  /** Options of the plugin beside those the demo sets; the address comes from the environment or the file where it can. */
  options: { config?: string; environment?: string; source?: SourceOptions };
  about: string;
  /** Ends the connection, and the server where it was started for the demo. */
  close(): Promise<void>;
}

/**
 * The database of `EXTERNAL_DB_*`, or of `--config WRANGLER_FILE` (and `--environment NAME`); without either a server of
 * the demo's own, of the kind that the first argument names.
 */
export async function openSource(): Promise<DemoSource> {
  const { values, positionals } = parseArgs({
    options: { config: { type: 'string' }, environment: { type: 'string' } },
    allowPositionals: true,
  });
  const [asked, ...more] = positionals;
  if (more.length > 0) throw new Error(`The demo takes one kind of database, and got ${positionals.join(' ')}`);
  if (process.env.EXTERNAL_DB_TYPE || values.config) {
    const variables = { ...(values.config ? fileVariables(values.config) : {}), ...process.env };
    const type = kindName(namedType(variables), 'EXTERNAL_DB_TYPE is');
    if (asked && asked !== type) throw new Error(`EXTERNAL_DB_TYPE is ${type}, which is not the ${asked} asked for`);
    const { connect, expected, place }: DemoKind = KINDS[type];
    const database = await connect(variables);
    return { database, expected, options: values, about: place(variables), close: () => database.close() };
  }
  return ownSource(kindName(asked ?? 'postgresql', 'the argument is'));
}

function kindName(given: string | undefined, what: string): KindName {
  if (given !== undefined && Object.hasOwn(KINDS, given)) return given as KindName;
  throw new Error(`The demo takes ${Object.keys(KINDS).join(', ')}; ${what} ${given ?? 'not set'}`);
}

/** As StarbaseDB writes them, `sqlite` stands for those of its family that variables can name. */
function namedType(variables: Variables): string | undefined {
  if (variables.EXTERNAL_DB_TYPE !== 'sqlite') return variables.EXTERNAL_DB_TYPE;
  if (variables.EXTERNAL_DB_TURSO_URI) return 'turso';
  return variables.EXTERNAL_DB_STARBASEDB_URI ? 'starbasedb' : 'd1';
}

async function ownSource(type: KindName): Promise<DemoSource> {
  const kind: DemoKind = KINDS[type];
  const { url, about, stop } = await (kind.start?.() ?? startServer(type));
  try {
    Object.assign(process.env, { EXTERNAL_DB_TYPE: type }, await kind.prepare(url));
    const database = await kind.connect(process.env);
    const source = kind.source?.(process.env);
    const close = async () => {
      await database.close();
      await stop();
    };
    return { database, expected: kind.expected, options: source ? { source } : {}, about, close };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startServer(type: KindName) {
  if (type === 'sqlite') throw new Error('A file has no server');
  const { startServers } = await import('../scripts/servers.mjs');
  const { servers, stop } = await startServers({ only: [type], all: false });
  const [{ url, version }] = servers;
  return { url, about: `${version}, started for the demo`, stop };
}

/** The variables in a wrangler file and the `.dev.vars` beside it, as far as the demo's own connection needs them. */
function fileVariables(config: string): Variables {
  const devVars = join(dirname(config), '.dev.vars');
  const text = readFileSync(config, 'utf8') + (existsSync(devVars) ? `\n${readFileSync(devVars, 'utf8')}` : '');
  const found = text.matchAll(/^\s*"?(EXTERNAL_DB_\w+)"?\s*[=:]\s*(?:"([^"\r\n]*)"|'([^'\r\n]*)'|([^,\s]*))/gm);
  return Object.fromEntries([...found].map(([, name, double, single, bare]) => [name, double ?? single ?? bare]));
}
