import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import type { DemoDatabase, DemoKind, Variables } from './database.js';

class MysqlDatabase implements DemoDatabase {
  constructor(private readonly client: Connection) {}

  async create(): Promise<void> {
    await this.client.query(readFileSync(join(__dirname, '..', 'setup-mysql.sql'), 'utf8'));
  }

  async change(): Promise<void> {
    // The tables' ON UPDATE sees to updated_at.
    await this.client.query(`
      UPDATE users SET balance = balance + 0.01, name = concat(name, ' ✓') WHERE id <= 3;
      UPDATE products SET price = 19.99 WHERE sku = 'P-0007';
      INSERT INTO orders (id, user_id, sku, quantity, total) VALUES
        ('00000000-0000-4000-8000-000000000001', 1, 'P-0007', 1, 19.99),
        ('00000000-0000-4000-8000-000000000002', 2, 'P-0007', 2, 39.98)`);
  }

  async totals(): Promise<{ orders: number; revenue: number }> {
    const [rows] = await this.client.query<RowDataPacket[]>(
      'SELECT count(*) AS orders, sum(total) AS revenue FROM orders',
    );
    return { orders: rows[0]?.orders, revenue: Number(rows[0]?.revenue) };
  }

  async drop(): Promise<void> {
    await this.client.query('DROP TABLE IF EXISTS orders, products, users');
  }

  async close(): Promise<void> {
    await this.client.end();
  }
}

export const mysql: DemoKind = {
  async prepare(url) {
    const { hostname, port, username, password } = new URL(url);
    const client = await createConnection({ uri: url });
    await client.query('CREATE DATABASE demo');
    await client.end();
    return {
      EXTERNAL_DB_HOST: hostname,
      EXTERNAL_DB_PORT: port,
      EXTERNAL_DB_USER: username,
      EXTERNAL_DB_PASS: password,
      EXTERNAL_DB_DATABASE: 'demo',
    };
  },

  async connect(variables: Variables) {
    const ssl = variables.EXTERNAL_DB_SSL;
    const ca = variables.EXTERNAL_DB_CA_CERT;
    const client = await createConnection({
      host: variables.EXTERNAL_DB_HOST,
      port: Number(variables.EXTERNAL_DB_PORT ?? 3306),
      user: variables.EXTERNAL_DB_USER,
      password: variables.EXTERNAL_DB_PASS,
      database: variables.EXTERNAL_DB_DATABASE,
      multipleStatements: true,
      ...(ssl === 'require' || ssl === 'verify-full'
        ? { ssl: { rejectUnauthorized: ssl === 'verify-full', ...(ca ? { ca: readFileSync(ca) } : {}) } }
        : {}),
    });
    return new MysqlDatabase(client);
  },

  place: (variables) => `the database at ${variables.EXTERNAL_DB_HOST}`,

  // Rows of the same hour as the last one are read again: a transaction that was open then might have added some.
  expected: { balance: 1815.13, updatedAt: '2024-03-01T10:00:00.123459Z', read: 600 },
};
