'use strict';

const { accessSync, constants, existsSync } = require('node:fs');
const { dirname, resolve } = require('node:path');
const { EXIT } = require('./exit.js');
const { paint, plain } = require('./output.js');

/** Milliseconds that clocks may differ by without a word. */
const SKEW = 5000;

const MARKS = { ok: ['ok', 'green'], warn: ['warn', 'yellow'], fail: ['fail', 'red'] };

/** What to do about an error, by its code. */
const REMEDIES = {
  CONFIG: 'Set what is missing in the environment, .dev.vars or the wrangler file, or give it in --options FILE.',
  CONNECT:
    'Is the server running, and may this machine reach its address and port? Is TLS (EXTERNAL_DB_SSL) what it asks for?',
  AUTH: 'Check user, password or token, and that they are those of this server.',
  TABLE_NOT_FOUND: "Check the name and its schema ('schema.table'), and the right to read it.",
  SOURCE_READ: 'Give the role the right to read what the message names.',
  SOURCE_CHANGED: 'Name another target, or run reset when this one is to follow the source from now on.',
  SCHEMA: 'Name key, track column or columns in --options FILE as the message says.',
  TARGET_WRITE: 'Give this user the right to write the file and its folder.',
  TARGET_BUSY: 'Another run holds the target; wait for it, or end it.',
};

function remedyOf({ code, message }) {
  if (message.includes('not a database')) {
    return 'That file is none of SQLite: name another one with --database, or move this one away.';
  }
  return REMEDIES[code] ?? null;
}

/** Looks at all that a run needs, changes nothing, and says what to do. */
async function doctor(plugin, output, { wishes }) {
  const checks = [];
  const check = (name, level, message, remedy = null) => checks.push({ name, level, message, remedy });
  check('node', 'ok', `Node.js ${process.version} on ${process.platform} ${process.arch}`);
  const failure = await checkTarget(plugin, wishes, check);
  try {
    const found = await plugin.triggerSync(undefined, { dryRun: true });
    check('configuration', 'ok', `The source is ${found.source} (from ${found.configuredBy})`);
    check('connection', 'ok', 'The source answers and takes the credentials');
    for (const warning of found.warnings) check('configuration', 'warn', warning);
    checkClock(found.clockSkewMs, check);
    checkTables(found, check);
  } catch (error) {
    const name = { CONFIG: 'configuration', CONNECT: 'connection', AUTH: 'connection' }[error.code] ?? 'tables';
    // What the target's check said needs no second word.
    if (failure !== error.message) check(name, 'fail', `${error.code}: ${error.message}`, remedyOf(error));
  }

  const failed = checks.some(({ level }) => level === 'fail');
  output.result('doctor', { healthy: !failed, checks }, () => {
    for (const { name, level, message, remedy } of checks) {
      const [mark, colour] = MARKS[level];
      output.say(`${paint(mark.padEnd(4), colour)}  ${name.padEnd(13)}  ${plain(message)}`);
      if (remedy) output.say(`${' '.repeat(21)}→ ${plain(remedy)}`);
    }
  });
  return failed ? EXIT.found : EXIT.ok;
}

/** Looks at the target; gives the message of what is wrong with all of it, if anything is. */
async function checkTarget(plugin, wishes, check) {
  try {
    const { tableMap, isRunning } = await plugin.getSyncStatus();
    const tables = Object.keys(tableMap).length;
    const running = isRunning ? '; a run is under way' : '';
    check(
      'target',
      'ok',
      tables > 0 ? `${tables} tables were synced into it${running}` : `Nothing was synced into it yet${running}`,
    );
    for (const [name, { lastError }] of Object.entries(tableMap)) {
      if (lastError) check('last run', 'warn', `Table ${name} failed: ${lastError}`);
    }
  } catch (error) {
    check('target', 'fail', `${error.code}: ${error.message}`, remedyOf(error));
    return error.message;
  }
  const file = wishes.target?.type === 'starbasedb' ? null : fileOf(wishes);
  if (file === null) return null;
  const written = existsSync(file) ? [file, dirname(file)] : [dirname(file)];
  for (const path of written) {
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      check('target', 'fail', `${path} can't be written to (${error.code})`, REMEDIES.TARGET_WRITE);
    }
  }
  return null;
}

/** The target's file, where the options and the environment alone tell it. */
function fileOf({ database, target }) {
  const path = target?.path ?? database ?? process.env.STARBASEDB_DATABASE ?? 'starbasedb.sqlite';
  return path === 'auto' || path === '' ? null : resolve(path);
}

function checkClock(skew, check) {
  if (skew === null) return;
  const far = Math.abs(skew) > SKEW;
  const seconds = (Math.abs(skew) / 1000).toFixed(1);
  const words = `The source's clock is ${seconds} s ${skew < 0 ? 'behind' : 'ahead of'} this machine's`;
  const remedy =
    'Set both by NTP. Only applications that write their own times into the track column are hurt: let lookback cover it.';
  check('clock', far ? 'warn' : 'ok', words, far ? remedy : null);
}

function checkTables({ tables, errors }, check) {
  const all = Object.entries(tables);
  for (const error of errors) check('table', 'fail', `${error.code}: ${error.message}`, remedyOf(error));
  if (all.length === 0 && errors.length === 0) {
    check('tables', 'warn', 'No table is found', 'Name tables with --tables, or give the role the right to read them.');
    return;
  }
  for (const [name, { mode, trackColumns, primaryKey, hints, missingIndex }] of all) {
    const by = trackColumns.length > 0 ? `, tracked by ${trackColumns.join(', ')}` : '';
    const key = primaryKey.length > 0 ? `, key ${primaryKey.join(', ')}` : ', no key';
    check('table', 'ok', `${name}: ${mode}${by}${key}`);
    for (const hint of hints) check('hint', 'warn', hint);
    if (missingIndex) check('index', 'warn', `Table ${name} needs an index`, `Run at the source: ${missingIndex}`);
  }
}

module.exports = { doctor };
