import { randomBytes } from 'node:crypto';
import { Client, type QueryResultRow } from 'pg';
import type { PostgresqlSource, ServerParts } from '../../index.js';

/** Superuser URLs of the servers that the tests run against. */
export function postgresServers(): string[] {
  const urls = process.env.DATA_SYNC_TEST_POSTGRES?.split(' ').filter(Boolean) ?? [];
  if (urls.length === 0) throw new Error('DATA_SYNC_TEST_POSTGRES is not set; run the tests with npm test');
  return urls;
}

/** A database of a test file's own. */
export class TestDatabase {
  private constructor(
    readonly url: string,
    readonly name: string,
    private readonly server: string,
    private readonly client: Client,
  ) {}

  /** Creates an empty database on `server`, by default the first one. */
  static async create(server = postgresServers()[0] as string): Promise<TestDatabase> {
    const name = `test_${randomBytes(6).toString('hex')}`;
    await once(server, `CREATE DATABASE ${name}`);
    const url = new URL(server);
    url.pathname = `/${name}`;
    const client = new Client({ connectionString: url.href });
    await client.connect();
    return new TestDatabase(url.href, name, server, client);
  }

  /** The same address as the plugin's `source`. */
  get source(): PostgresqlSource & ServerParts {
    const { hostname, port, username, password } = new URL(this.url);
    return { type: 'postgresql', host: hostname, port: Number(port), user: username, password, database: this.name };
  }

  /** Runs SQL and gives its rows; without parameters it may be several statements. */
  async query<Row extends QueryResultRow>(sql: string, parameters?: unknown[]): Promise<Row[]> {
    return (await this.client.query<Row>(sql, parameters)).rows;
  }

  /** Another connection, for transactions beside the first. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.url });
    await client.connect();
    return client;
  }

  async drop(): Promise<void> {
    await this.client.end();
    await once(this.server, `DROP DATABASE ${this.name} WITH (FORCE)`);
  }
}

async function once(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
