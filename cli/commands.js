'use strict';

const { once } = require('node:events');
const { createInterface } = require('node:readline/promises');
const { EXIT, exitOf } = require('./exit.js');
const { UsageError } = require('./options.js');
const { paint, plain, Progress } = require('./output.js');
const { emptyWords } = require('./target.js');

const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? '' : 's'}`;
const time = (text) => (text === null ? 'never' : text.replace('T', ' ').replace(/\.\d+Z$/, 'Z'));

/** Runs `work` with the events shown, and ends it by SIGINT or SIGTERM: a second one ends the process at once. */
async function interruptible(plugin, output, work) {
  const progress = new Progress(plugin, output);
  const ending = new AbortController();
  const end = () => {
    if (ending.signal.aborted) process.exit(EXIT.interrupted);
    ending.abort(new Error('interrupted'));
  };
  process.on('SIGINT', end).on('SIGTERM', end);
  try {
    return await work(ending.signal);
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end);
    progress.end();
  }
}

function showStats(output, { tables, durationMs }) {
  const rows = Object.entries(tables).map(([name, table]) => [
    name,
    table.mode,
    ...['rowsRead', 'rowsInserted', 'rowsUpdated', 'rowsDeleted'].map((what) => table[what].toLocaleString()),
    `${table.durationMs} ms`,
  ]);
  output.table(['table', 'mode', 'read', 'new', 'changed', 'deleted', 'took'], rows, [2, 3, 4, 5, 6]);
  output.say(`${count(rows.length, 'table')} in sync after ${durationMs} ms`);
}

async function sync(plugin, output, _names, flags) {
  if (flags.dryRun) return plan(plugin, output);
  const stats = await interruptible(plugin, output, (signal) => plugin.triggerSync(undefined, { signal }));
  output.result('sync', stats, () => showStats(output, stats));
  return EXIT.ok;
}

/** Runs the schedule until it is interrupted. A failed run is told, and the schedule goes on. */
async function watch(plugin, output) {
  let code = EXIT.ok;
  await interruptible(plugin, output, async (signal) => {
    if (!output.json) {
      plugin.on('syncError', (error) => {
        if (error.code !== 'CLOSED') output.error(error);
      });
    }
    plugin.start();
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve);
      // Nobody reads the events any more; with nothing to interrupt it by, it would go on for ever.
      process.stdout.once('error', () => {
        code = EXIT.failed;
        resolve();
      });
    });
    await plugin.stop();
  });
  return code;
}

async function status(plugin, output, _names, _flags, target) {
  const found = await plugin.getSyncStatus();
  output.result('status', found, () => {
    const rows = Object.entries(found.tableMap).map(([name, table]) => [
      name,
      table.mode,
      table.phase,
      table.recordCount.toLocaleString(),
      table.lastValue,
      time(table.lastSyncTime),
    ]);
    if (rows.length === 0) output.say(`${plain(emptyWords(target))}.`);
    else output.table(['table', 'mode', 'phase', 'rows', 'position', 'in sync'], rows, [3]);
    output.say(`\nAll in sync: ${time(found.lastSyncTime)}${found.isRunning ? '; a run is under way' : ''}`);
    for (const [name, { lastError }] of Object.entries(found.tableMap)) {
      if (lastError) output.say(`${paint('failed', 'red')} ${plain(name)}: ${plain(lastError)}`);
    }
  });
  return EXIT.ok;
}

async function confirmed(question) {
  const asked = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and Ctrl-D are a no. They close it, and not every Node.js settles the question then.
  const refused = once(asked, 'close').then(() => '');
  const answered = asked.question(question).catch((error) => {
    if (error.code !== 'ABORT_ERR') throw error;
    return '';
  });
  try {
    return /^y(es)?$/i.test((await Promise.race([answered, refused])).trim());
  } finally {
    asked.close();
  }
}

async function reset(plugin, output, [table], { yes }) {
  const what = table === undefined ? 'all tables' : `table ${plain(table)}`;
  if (!yes) {
    if (!process.stdin.isTTY || output.json) {
      throw new UsageError('reset asks before it forgets positions; where nobody can answer, say --yes');
    }
    if (!(await confirmed(`Forget the position of ${what}? The rows stay, and are read again. [y/N] `))) {
      process.stderr.write('\nNothing was reset.\n');
      return EXIT.interrupted;
    }
  }
  await plugin.resetSyncState(table);
  output.result('reset', { table: table ?? null }, () => output.say(`Reset ${what}; the next run reads it again.`));
  return EXIT.ok;
}

async function verify(plugin, output, tables, { repair = false }) {
  const found = await interruptible(plugin, output, (signal) => plugin.verify(tables, { repair, signal }));
  const differ = Object.values(found.tables).some(
    ({ missing, extra, different, repaired }) => missing + extra + different > repaired,
  );
  output.result('verify', found, () => {
    const names = ['rows', 'missing', 'extra', 'different', 'pending', 'repaired'];
    const rows = Object.entries(found.tables).map(([name, table]) => [
      name,
      ...names.map((what) => table[what].toLocaleString()),
    ]);
    output.table(['table', ...names], rows, [1, 2, 3, 4, 5, 6]);
    for (const [name, { samples }] of Object.entries(found.tables)) {
      for (const { kind, key } of samples) {
        const parts = Object.entries(key).map(([column, value]) => `${plain(column)} ${plain(value)}`);
        output.say(`${plain(name)}: ${kind} ${parts.join(', ')}`);
      }
    }
  });
  return differ ? EXIT.found : EXIT.ok;
}

/** Shows what can be planned, and after it what can't: the run would go the same way. */
async function plan(plugin, output) {
  try {
    showPlan(output, await plugin.triggerSync(undefined, { dryRun: true }));
    return EXIT.ok;
  } catch (error) {
    if (!error.plan) throw error;
    if (Object.keys(error.plan.tables).length > 0) showPlan(output, error.plan);
    for (const fault of error.errors) output.error(fault);
    return exitOf(error);
  }
}

function showPlan(output, found) {
  output.result('plan', found, () => {
    const rows = Object.entries(found.tables).map(([name, table]) => [
      table.source,
      name,
      table.mode,
      table.phase,
      table.trackColumns.join(', ') || null,
      table.primaryKey.join(', ') || null,
      table.estimatedRows === null ? null : table.estimatedRows.toLocaleString(),
    ]);
    output.table(['source', 'target', 'mode', 'phase', 'tracked by', 'key', 'about rows'], rows, [6]);
    for (const { ddl } of Object.values(found.tables))
      for (const statement of ddl) output.say(`\n${plain(statement)};`);
    output.say('\nNothing was written.');
  });
}

/** Runs a command on a plugin; gives the exit code. Failures are told here, once. */
async function perform(command, plugin, output, names, flags, target) {
  try {
    return await command(plugin, output, names, flags, target);
  } catch (error) {
    output.error(error);
    return exitOf(error);
  } finally {
    await plugin.stop();
  }
}

module.exports = { perform, plan, reset, status, sync, verify, watch };
