import type { D1Source } from '../../index.js';
import type { DemoKind, Variables } from './database.js';
import { bare, expected, post, SqliteFamilyDatabase, type Way } from './sqlite-family.js';

/** Where the server is that was started for the demo; the plugin has no variable for it, only the option `source.url`. */
const BASE = 'DEMO_D1_URL';

function address(variables: Variables): D1Source {
  const value = (name: string) => {
    const found = variables[name];
    if (!found) throw new Error(`${name} is not set`);
    return found;
  };
  return {
    type: 'd1',
    api_key: value('EXTERNAL_DB_CLOUDFLARE_API_KEY'),
    account_id: value('EXTERNAL_DB_CLOUDFLARE_ACCOUNT_ID'),
    database_id: value('EXTERNAL_DB_CLOUDFLARE_DATABASE_ID'),
    ...(variables[BASE] ? { url: variables[BASE] } : {}),
  };
}

class D1Way implements Way {
  constructor(private readonly source: D1Source) {}

  async run(sql: string): Promise<void> {
    await this.rows(sql);
  }

  async rows(sql: string): Promise<unknown[][]> {
    const { url = 'https://api.cloudflare.com', account_id, database_id, api_key } = this.source;
    const path = `/client/v4/accounts/${account_id}/d1/database/${database_id}/raw`;
    const { result } = await post<{ result: { results: { rows: unknown[][] } }[] }>(
      new URL(path, url),
      { authorization: `Bearer ${api_key}` },
      { sql },
    );
    return result.at(-1)?.results.rows ?? [];
  }
}

export const d1: DemoKind = {
  async prepare(url) {
    const { username, password } = new URL(url);
    const base = bare(url);
    const { id } = await post<{ id: string }>(new URL('/control/databases', base), {}, {});
    return {
      EXTERNAL_DB_CLOUDFLARE_API_KEY: password,
      EXTERNAL_DB_CLOUDFLARE_ACCOUNT_ID: username,
      EXTERNAL_DB_CLOUDFLARE_DATABASE_ID: id,
      [BASE]: base.href,
    };
  },

  connect: async (variables) => new SqliteFamilyDatabase(new D1Way(address(variables))),

  source: (variables) => (variables[BASE] ? address(variables) : undefined),

  place: () => 'the database of EXTERNAL_DB_CLOUDFLARE_DATABASE_ID',

  expected,
};
