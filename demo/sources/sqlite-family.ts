/** What SQLite and what is made of it share: the demo's tables, and what happens to them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DemoDatabase, DemoKind } from './database.js';

/** The way to a database of SQLite's family. */
export interface Way {
  /** Runs statements. */
  run(sql: string): Promise<void>;
  /** The rows of one statement. */
  rows(sql: string): Promise<unknown[][]>;
}

export class SqliteFamilyDatabase implements DemoDatabase {
  constructor(private readonly way: Way) {}

  async create(): Promise<void> {
    const there = await this.way.rows(
      `SELECT name, sql LIKE '%data_sync_demo%' FROM sqlite_schema WHERE name IN ('orders', 'products', 'users')`,
    );
    const foreign = there.find(([, ours]) => Number(ours) !== 1);
    if (foreign) {
      throw new Error(`There is another table named ${foreign[0]} here; run the demo in a database without one`);
    }
    await this.drop();
    await this.way.run(readFileSync(join(__dirname, '..', 'setup-sqlite.sql'), 'utf8'));
  }

  async change(): Promise<void> {
    await this.way.run(`
      UPDATE users SET balance = round(balance + 0.01, 2), name = name || ' ✓', updated_at = CURRENT_TIMESTAMP WHERE id <= 3;
      UPDATE products SET price = 19.99, updated_at = CURRENT_TIMESTAMP WHERE sku = 'P-0007';
      INSERT INTO orders (id, user_id, sku, quantity, total) VALUES
        ('00000000-0000-4000-8000-000000000001', 1, 'P-0007', 1, 19.99),
        ('00000000-0000-4000-8000-000000000002', 2, 'P-0007', 2, 39.98)`);
  }

  async totals(): Promise<{ orders: number; revenue: number }> {
    const [sums] = await this.way.rows('SELECT count(*), round(sum(total), 2) FROM orders');
    return { orders: Number(sums?.[0]), revenue: Number(sums?.[1]) };
  }

  async drop(): Promise<void> {
    // Orders refer to the others.
    await this.way.run('DROP TABLE IF EXISTS orders; DROP TABLE IF EXISTS products; DROP TABLE IF EXISTS users');
  }

  async close(): Promise<void> {}
}

// Rows of the same hour as the last one are read again: a slow writer might have added some since.
export const expected: DemoKind['expected'] = { balance: 1815.13, updatedAt: '2024-03-01 10:00:03', read: 600 };

/** Sends `body` as JSON and gives the answer; a failure is told with what the server said. */
export async function post<Answer>(url: string | URL, headers: Record<string, string>, body: unknown): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${new URL(url).host} answered ${response.status}: ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

/** `url` without user and password, which `fetch` doesn't take. */
export function bare(url: string): URL {
  const address = new URL(url);
  address.username = '';
  address.password = '';
  return address;
}
