/** Shows all of the plugin on a real database, and fails when a figure is not what it should be. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DataSyncPlugin, type SyncStats } from '../index.js';
import { PrivacyPlugin, queryThrough } from './query-hooks.js';
import { type DemoSource, openSource } from './source.js';

const TABLES = ['orders', 'products', 'users'];
const ROWS = { users: 1000, products: 200, orders: 20_000 };

const say = (text = '') => console.log(text);
const title = (text: string) => say(`\n── ${text} ${'─'.repeat(Math.max(2, 70 - text.length))}`);

function bar(table: string, rows: number, total: number | null): string {
  const share = total ? Math.min(1, rows / total) : 1;
  const full = Math.round(share * 30);
  return `${table.padEnd(9)} ${'█'.repeat(full)}${'░'.repeat(30 - full)} ${String(rows).padStart(6)} rows`;
}

/** One line a table, redrawn while the table is read. */
function showProgress(plugin: DataSyncPlugin): void {
  const live = process.stdout.isTTY;
  plugin.on('progress', ({ table, rows, estimatedRows, rowsPerSecond }) => {
    if (live) process.stdout.write(`\r${bar(table, rows, estimatedRows)}, ${rowsPerSecond} rows/s\x1b[K`);
  });
  plugin.on('tableComplete', ({ table, rowsRead, durationMs }) => {
    say(`${live ? '\r' : ''}${bar(table, rowsRead, rowsRead)} in ${durationMs} ms${live ? '\x1b[K' : ''}`);
  });
}

function summary({ rowsRead, rowsInserted, rowsUpdated, rowsDeleted, durationMs }: SyncStats): string {
  return `read ${rowsRead}, inserted ${rowsInserted}, updated ${rowsUpdated}, deleted ${rowsDeleted} in ${durationMs} ms`;
}

function changes({ rowsInserted, rowsUpdated, rowsDeleted }: SyncStats) {
  return { rowsInserted, rowsUpdated, rowsDeleted };
}

async function demo(source: DemoSource, replicaFile: string): Promise<void> {
  const plugin = new DataSyncPlugin({
    ...source.options,
    database: replicaFile,
    tables: [
      'users',
      'products',
      // An order that was never updated has no updated_at: then created_at counts.
      { name: 'orders', track_column: ['updated_at', 'created_at'] },
    ],
    log_level: 'warn',
  });
  const counts = new Map<string, number>();
  for (const event of ['syncStart', 'tableStart', 'progress', 'tableComplete', 'syncComplete', 'syncError'] as const) {
    plugin.on(event, () => counts.set(event, (counts.get(event) ?? 0) + 1));
  }

  title('What a sync would do');
  const plan = await plugin.triggerSync(undefined, { dryRun: true });
  assert.deepEqual(Object.keys(plan.tables).sort(), TABLES);
  for (const [table, { mode, trackColumns, primaryKey, ddl }] of Object.entries(plan.tables)) {
    say(`${table}: ${mode}, tracked by ${trackColumns.join(', then ')}, key ${primaryKey.join(', ')}`);
    if (table === 'users') say(ddl.join(';\n'));
  }

  title('First sync: everything');
  showProgress(plugin);
  const first = await plugin.triggerSync();
  say(summary(first));
  assert.deepEqual(changes(first), { rowsInserted: 21_200, rowsUpdated: 0, rowsDeleted: 0 });

  title('Six rows change at the source; second sync');
  await source.database.change();
  plugin.setLogLevel('info');
  const second = await plugin.triggerSync();
  plugin.setLogLevel('warn');
  say(summary(second));
  assert.deepEqual(changes(second), { rowsInserted: 2, rowsUpdated: 4, rowsDeleted: 0 });
  assert.ok(second.rowsRead < source.expected.read, `an incremental run read ${second.rowsRead} rows`);

  title('Nothing changes; third sync');
  const third = await plugin.triggerSync();
  say(summary(third));
  assert.deepEqual(changes(third), { rowsInserted: 0, rowsUpdated: 0, rowsDeleted: 0 });

  title('Queries on the replica, through a plugin with query hooks');
  const replica = new Database(replicaFile, { readonly: true });
  try {
    const ask = (sql: string, ...params: unknown[]) =>
      queryThrough([new PrivacyPlugin()], { sql, params }, (query) =>
        replica.prepare<unknown[], Record<string, unknown>>(query.sql).all(...(query.params ?? [])),
      );
    const people = await ask(
      'SELECT id, uid, name, email, balance, tags, settings, updated_at FROM users WHERE id <= ? ORDER BY id',
      4,
    );
    console.table(people, ['id', 'name', 'email', 'balance', 'tags']);
    assert.equal(people[0]?.email, '***@example.com');
    assert.equal(people[0]?.name, 'Ada Lovelace ✓');
    assert.equal(people[0]?.balance, source.expected.balance);
    assert.equal(people[2]?.name, '宮本 武蔵 ✓');
    assert.equal(people[2]?.email, null);
    assert.deepEqual(JSON.parse(String(people[1]?.tags)), ['with, comma', null, '']);
    assert.match(String(people[0]?.settings), /12345678901234567890/);
    assert.equal(people[3]?.updated_at, source.expected.updatedAt);
    const best = await ask(`
      SELECT p.name, count(*) AS orders, round(sum(o.total), 2) AS revenue
      FROM orders o JOIN products p ON p.sku = o.sku GROUP BY p.sku ORDER BY revenue DESC LIMIT 3`);
    console.table(best);
    const [here] = await ask('SELECT count(*) AS orders, round(sum(total), 2) AS revenue FROM orders');
    assert.deepEqual(here, await source.database.totals());
    const [weight] = await ask("SELECT exact_weight FROM products WHERE sku = 'P-0200'");
    assert.equal(weight?.exact_weight, `0.${'200'.repeat(10)}`);
    await assert.rejects(ask('DELETE FROM users'), /Only SELECT/);
    say(`The replica and the source agree: ${here?.orders} orders, revenue ${here?.revenue}`);
  } finally {
    replica.close();
  }

  title('Status');
  const status = await plugin.getSyncStatus();
  console.table(status.tableMap, ['mode', 'phase', 'recordCount', 'lastValue', 'nullTracked', 'lastError']);
  assert.equal(status.isRunning, false);
  for (const [table, rows] of Object.entries({ ...ROWS, orders: ROWS.orders + 2 })) {
    assert.equal(status.tableMap[table]?.recordCount, rows);
  }

  title('Reset of products; sync of products alone');
  await plugin.resetSyncState('products');
  const again = await plugin.triggerSync(['products']);
  say(summary(again));
  assert.equal(again.rowsRead, ROWS.products);
  assert.deepEqual(changes(again), { rowsInserted: 0, rowsUpdated: 0, rowsDeleted: 0 });

  title('Events');
  for (const [event, count] of counts) say(`${event.padEnd(14)} ${count}`);
  assert.equal(counts.get('syncStart'), 4);
  assert.equal(counts.get('syncComplete'), 4);
  assert.equal(counts.get('syncError'), undefined);
  await plugin.stop();
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'data-sync-demo-'));
  try {
    const source = await openSource();
    try {
      title(`Source: ${source.about}`);
      await source.database.create();
      say(`Created ${TABLES.join(', ')}`);
      try {
        await demo(source, join(folder, 'replica.sqlite'));
      } finally {
        await source.database.drop();
      }
    } finally {
      await source.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  say('\nAll figures are as they should be.');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
