import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';

/** The PostgreSQL that the demo runs against, and what the plugin needs to find it by itself. */
export interface DemoSource {
  client: Client;
  /** Options of the plugin beside those the demo sets; the address itself comes from the environment or the file. */
  options: { config?: string; environment?: string };
  about: string;
  close(): Promise<void>;
}

type Variables = Record<string, string | undefined>;

/**
 * The database of `EXTERNAL_DB_*`, or of `--config WRANGLER_FILE` (and `--environment NAME`); without either a
 * PostgreSQL of the demo's own.
 */
export async function openSource(): Promise<DemoSource> {
  const { values } = parseArgs({ options: { config: { type: 'string' }, environment: { type: 'string' } } });
  if (process.env.EXTERNAL_DB_TYPE || values.config) {
    const variables = { ...(values.config ? fileVariables(values.config) : {}), ...process.env };
    return connect(variables, values, `the database at ${variables.EXTERNAL_DB_HOST}`, async () => {});
  }
  const { startServers } = await import('../scripts/servers.mjs');
  const { servers, stop } = await startServers({ all: false });
  const { hostname, port, username, password } = new URL(servers[0].url);
  Object.assign(process.env, {
    EXTERNAL_DB_TYPE: 'postgresql',
    EXTERNAL_DB_HOST: hostname,
    EXTERNAL_DB_PORT: port,
    EXTERNAL_DB_USER: username,
    EXTERNAL_DB_PASS: password,
    EXTERNAL_DB_DATABASE: 'postgres',
  });
  try {
    return await connect(process.env, {}, `${servers[0].version}, started for the demo`, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The variables in a wrangler file and the `.dev.vars` beside it, as far as the demo's own connection needs them. */
function fileVariables(config: string): Variables {
  const devVars = join(dirname(config), '.dev.vars');
  const text = readFileSync(config, 'utf8') + (existsSync(devVars) ? `\n${readFileSync(devVars, 'utf8')}` : '');
  const found = text.matchAll(/^\s*"?(EXTERNAL_DB_\w+)"?\s*[=:]\s*["']?([^"',\r\n]*)/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, value]));
}

async function connect(
  variables: Variables,
  options: DemoSource['options'],
  about: string,
  release: () => Promise<void>,
): Promise<DemoSource> {
  const type = variables.EXTERNAL_DB_TYPE;
  if (type !== 'postgresql') throw new Error(`The demo takes a PostgreSQL database; EXTERNAL_DB_TYPE is ${type}`);
  const ssl = variables.EXTERNAL_DB_SSL;
  const client = new Client({
    host: variables.EXTERNAL_DB_HOST,
    port: Number(variables.EXTERNAL_DB_PORT ?? 5432),
    user: variables.EXTERNAL_DB_USER,
    password: variables.EXTERNAL_DB_PASS,
    database: variables.EXTERNAL_DB_DATABASE,
    ssl: ssl === 'require' || ssl === 'verify-full' ? { rejectUnauthorized: ssl === 'verify-full' } : false,
  });
  await client.connect();
  const schema = variables.EXTERNAL_DB_DEFAULT_SCHEMA;
  if (schema) await client.query(`SET search_path TO ${client.escapeIdentifier(schema)}`);
  return {
    client,
    options,
    about,
    async close() {
      try {
        await client.query('DROP TABLE IF EXISTS orders, products, users; DROP TYPE IF EXISTS demo_order_status');
      } finally {
        await client.end();
        await release();
      }
    },
  };
}
