/** What a plugin of StarbaseDB gets before a query. */
export interface Query {
  sql: string;
  params?: unknown[];
}

/** A plugin's query hooks, in StarbaseDB's shape. */
export interface QueryHooks {
  beforeQuery?(query: Query): Promise<Query>;
  afterQuery?(answer: Query & { result: Record<string, unknown>[] }): Promise<Record<string, unknown>[]>;
}

/** Hides who is behind an e-mail address, and lets nobody read more than 100 rows at once. */
export class PrivacyPlugin implements QueryHooks {
  readonly name = 'privacy';

  async beforeQuery({ sql, params }: Query): Promise<Query> {
    if (!/^\s*select\b/i.test(sql)) throw new Error('Only SELECT is allowed on the replica');
    return { sql: `SELECT * FROM (${sql}) LIMIT 100`, params };
  }

  async afterQuery({ result }: { result: Record<string, unknown>[] }): Promise<Record<string, unknown>[]> {
    return result.map((row) =>
      typeof row.email === 'string' ? { ...row, email: row.email.replace(/^.*@/, '***@') } : row,
    );
  }
}

/** Runs a query through the hooks of all plugins, as StarbaseDB does. */
export async function queryThrough(
  plugins: QueryHooks[],
  query: Query,
  run: (query: Query) => Record<string, unknown>[],
): Promise<Record<string, unknown>[]> {
  let asked = query;
  for (const plugin of plugins) asked = (await plugin.beforeQuery?.(asked)) ?? asked;
  let result = run(asked);
  for (const plugin of plugins) result = (await plugin.afterQuery?.({ ...asked, result })) ?? result;
  return result;
}
