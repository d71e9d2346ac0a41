import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import type { DemoDatabase, DemoKind, Variables } from './database.js';

class PostgresqlDatabase implements DemoDatabase {
  constructor(private readonly client: Client) {}

  async create(): Promise<void> {
    await this.client.query(readFileSync(join(__dirname, '..', 'setup.sql'), 'utf8'));
  }

  async change(): Promise<void> {
    await this.client.query(`
      UPDATE users SET balance = balance + 0.01, name = name || ' ✓', updated_at = now() WHERE id <= 3;
      UPDATE products SET price = 19.99, updated_at = now() WHERE sku = 'P-0007';
      INSERT INTO orders (id, user_id, sku, quantity, total) VALUES
        ('00000000-0000-4000-8000-000000000001', 1, 'P-0007', 1, 19.99),
        ('00000000-0000-4000-8000-000000000002', 2, 'P-0007', 2, 39.98)`);
  }

  async totals(): Promise<{ orders: number; revenue: number }> {
    const { rows } = await this.client.query(
      'SELECT count(*)::int AS orders, sum(total)::float AS revenue FROM orders',
    );
    return rows[0];
  }

  async drop(): Promise<void> {
    await this.client.query('DROP TABLE IF EXISTS orders, products, users; DROP TYPE IF EXISTS demo_order_status');
  }

  async close(): Promise<void> {
    await this.client.end();
  }
}

export const postgresql: DemoKind = {
  async prepare(url) {
    const { hostname, port, username, password, pathname } = new URL(url);
    return {
      EXTERNAL_DB_HOST: hostname,
      EXTERNAL_DB_PORT: port,
      EXTERNAL_DB_USER: username,
      EXTERNAL_DB_PASS: password,
      EXTERNAL_DB_DATABASE: pathname.slice(1),
    };
  },

  async connect(variables: Variables) {
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
    return new PostgresqlDatabase(client);
  },

  place: (variables) => `the database at ${variables.EXTERNAL_DB_HOST}`,

  expected: { balance: 1815.13, updatedAt: '2024-03-01T10:00:00.123459Z', read: 100 },
};
