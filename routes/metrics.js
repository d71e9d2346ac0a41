'use strict';

const { performance } = require('node:perf_hooks');

const COUNTS = { rowsRead: 'read', rowsInserted: 'inserted', rowsUpdated: 'updated', rowsDeleted: 'deleted' };

/** What a plugin did since its routes were mounted, and where it stands, for Prometheus. */
class Metrics {
  #plugin;
  #runs = { complete: 0, failed: 0 };
  #errors = new Map();
  #rows = new Map();
  #lastRun = null;
  #began = null;

  constructor(plugin) {
    this.#plugin = plugin;
    plugin.on('syncStart', () => {
      this.#began = performance.now();
    });
    plugin.on('tableComplete', (stats) => this.#count(stats.table, stats));
    plugin.on('syncComplete', () => this.#end('complete'));
    plugin.on('syncError', (error) => {
      // A run that the user ended did not fail.
      if (error.code === 'ABORTED' || error.code === 'CLOSED') {
        this.#began = null;
        return;
      }
      this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1);
      this.#end('failed');
    });
  }

  #count(table, stats) {
    const rows = this.#rows.get(table) ?? Object.fromEntries(Object.keys(COUNTS).map((name) => [name, 0]));
    for (const name of Object.keys(COUNTS)) rows[name] += stats[name];
    this.#rows.set(table, rows);
  }

  #end(outcome) {
    this.#runs[outcome] += 1;
    if (this.#began !== null) this.#lastRun = (performance.now() - this.#began) / 1000;
    this.#began = null;
  }

  /** All of it as text, in Prometheus's exposition format 0.0.4. */
  async text() {
    const { lastSyncTime, isRunning, tableMap } = await this.#plugin.getSyncStatus();
    const tables = Object.entries(tableMap);
    const each = (value) => tables.map(([table, status]) => [{ table }, value(status)]);
    const seconds = (time) => (time === null ? null : Date.parse(time) / 1000);
    const families = [
      ['running', 'gauge', 'Whether a run is under way, in any process.', [[{}, Number(isRunning)]]],
      ['runs_total', 'counter', 'Runs that ended.', Object.entries(this.#runs).map(([outcome, n]) => [{ outcome }, n])],
      ['errors_total', 'counter', 'Runs that failed.', [...this.#errors].map(([code, n]) => [{ code }, n])],
      ['last_run_duration_seconds', 'gauge', 'How long the last run took.', [[{}, this.#lastRun]]],
      ['last_success_timestamp_seconds', 'gauge', 'When all tables were last in sync.', [[{}, seconds(lastSyncTime)]]],
      [
        'lag_seconds',
        'gauge',
        'How long ago all tables were last in sync.',
        [[{}, lastSyncTime === null ? null : Math.max(0, Date.now() / 1000 - seconds(lastSyncTime))]],
      ],
      ['table_rows', 'gauge', 'Rows of the replica.', each(({ recordCount }) => recordCount)],
      [
        'table_untracked_rows',
        'gauge',
        'Rows of the replica without a track value.',
        each(({ nullTracked }) => nullTracked),
      ],
      ['table_loading', 'gauge', 'Whether the first load goes on.', each(({ phase }) => Number(phase === 'snapshot'))],
      ['table_failed', 'gauge', 'Whether the last run failed.', each(({ lastError }) => Number(lastError !== null))],
      [
        'table_last_success_timestamp_seconds',
        'gauge',
        'When the table was last in sync.',
        each((status) => seconds(status.lastSyncTime)),
      ],
      [
        'rows_total',
        'counter',
        'Rows of runs, by what was done with them.',
        [...this.#rows].flatMap(([table, rows]) =>
          Object.entries(COUNTS).map(([name, action]) => [{ table, action }, rows[name]]),
        ),
      ],
    ];
    return families.map(family).join('');
  }
}

function family([name, type, help, samples]) {
  const known = samples.filter(([, value]) => value !== null && !Number.isNaN(value));
  if (known.length === 0) return '';
  const lines = known.map(([labels, value]) => `data_sync_${name}${labelled(labels)} ${value}\n`);
  return `# HELP data_sync_${name} ${help}\n# TYPE data_sync_${name} ${type}\n${lines.join('')}`;
}

function labelled(labels) {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}

const escaped = (value) => value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

module.exports = { Metrics };
