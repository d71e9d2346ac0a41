import type { DemoKind, Variables } from './database.js';
import { bare, expected, post, SqliteFamilyDatabase, type Way } from './sqlite-family.js';

class StarbasedbWay implements Way {
  constructor(
    private readonly uri: string,
    private readonly token: string,
  ) {}

  async run(sql: string): Promise<void> {
    await this.rows(sql);
  }

  async rows(sql: string): Promise<unknown[][]> {
    const headers = { authorization: `Bearer ${this.token}`, 'x-starbase-source': 'internal' };
    const url = `${this.uri.replace(/\/+$/, '')}/query`;
    const { result } = await post<{ result: Record<string, unknown>[] }>(url, headers, { sql });
    return result.map((row) => Object.values(row));
  }
}

export const starbasedb: DemoKind = {
  async prepare(url) {
    return {
      EXTERNAL_DB_STARBASEDB_URI: new URL('/demo', bare(url)).href,
      EXTERNAL_DB_STARBASEDB_TOKEN: new URL(url).username,
    };
  },

  async connect(variables: Variables) {
    const { EXTERNAL_DB_STARBASEDB_URI: uri, EXTERNAL_DB_STARBASEDB_TOKEN: token } = variables;
    if (!uri || !token) throw new Error('EXTERNAL_DB_STARBASEDB_URI or EXTERNAL_DB_STARBASEDB_TOKEN is not set');
    return new SqliteFamilyDatabase(new StarbasedbWay(uri, token));
  },

  place: () => 'the StarbaseDB of EXTERNAL_DB_STARBASEDB_URI',

  expected,
};
