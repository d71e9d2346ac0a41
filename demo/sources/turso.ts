import type { DemoKind, Variables } from './database.js';
import { expected, post, SqliteFamilyDatabase, type Way } from './sqlite-family.js';

interface Outcome {
  type: 'ok' | 'error';
  error?: { message: string };
  response?: { result?: { rows: { value?: unknown }[][] } };
}

class TursoWay implements Way {
  constructor(
    private readonly uri: string,
    private readonly token: string | undefined,
  ) {}

  async run(sql: string): Promise<void> {
    await this.ask({ type: 'sequence', sql });
  }

  async rows(sql: string): Promise<unknown[][]> {
    const { response } = await this.ask({ type: 'execute', stmt: { sql } });
    return (response?.result?.rows ?? []).map((row) => row.map(({ value }) => value ?? null));
  }

  private async ask(request: object): Promise<Outcome> {
    // The scheme of this system only says that it is spoken over TLS.
    const url = `${this.uri.replace(/^libsql:/, 'https:').replace(/\/+$/, '')}/v3/pipeline`;
    const headers: Record<string, string> = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const { results } = await post<{ results: Outcome[] }>(url, headers, { requests: [request, { type: 'close' }] });
    const [outcome] = results;
    if (outcome?.type !== 'ok') throw new Error(outcome?.error?.message ?? 'The server gave no result');
    return outcome;
  }
}

export const turso: DemoKind = {
  // The server has one database from the start.
  prepare: async (url) => ({ EXTERNAL_DB_TURSO_URI: url }),

  async connect(variables: Variables) {
    const uri = variables.EXTERNAL_DB_TURSO_URI;
    if (!uri) throw new Error('EXTERNAL_DB_TURSO_URI is not set');
    return new SqliteFamilyDatabase(new TursoWay(uri, variables.EXTERNAL_DB_TURSO_TOKEN));
  },

  place: () => 'the database of EXTERNAL_DB_TURSO_URI',

  expected,
};
