'use strict';

const { EXIT } = require('./exit.js');
const { paint, plain } = require('./output.js');
const { emptyWords, obstacles } = require('./target.js');

/** Milliseconds that clocks may differ by without a word. */
const SKEW = 5000;

const MARKS = { ok: ['ok', 'green'], warn: ['warn', 'yellow'], fail: ['fail', 'red'] };

/** What to do about an error, by its code. Of the others their messages say it. */
const REMEDIES = {
  CONFIG: 'Set what is missing in the environment, .dev.vars or the wrangler file, or give it in --options FILE.',
  CONNECT:
    'Is the server running, and may this machine reach its address and port? Is TLS (EXTERNAL_DB_SSL) what it asks for?',
  AUTH: 'Check user, password or token, and that they are those of this server.',
  TABLE_NOT_FOUND: "Check the name and its schema ('schema.table'), and the right to read it.",
  SOURCE_READ: 'Give the role the right to read what the message names.',
  SOURCE_CHANGED: 'Name another target, or run reset when this one is to follow the source from now on.',
  SCHEMA: 'Name key, track column or columns in --options FILE as the message says.',
  TARGET_BUSY: 'Another run holds the target; wait for it, or end it.',
  SYNC_DISABLED: 'Set enabled to true in --options FILE.',
};

/** What an error without a table is about. */
const SUBJECTS = {
  CONFIG: 'configuration',
  SYNC_DISABLED: 'configuration',
  CONNECT: 'connection',
  AUTH: 'connection',
  RATE_LIMITED: 'connection',
  SOURCE_CHANGED: 'target',
  TARGET_WRITE: 'target',
  TARGET_BUSY: 'target',
};

/** Looks at all that a run needs, changes nothing, and says what to do. */
async function doctor(plugin, output, _names, _flags, target) {
  const checks = [];
  const check = (name, level, message, remedy = null) => checks.push({ name, level, message, remedy });
  const failed = (name, { code, message }, prefix = '') =>
    check(name, 'fail', `${prefix}${code}: ${message}`, REMEDIES[code] ?? null);

  check('node', 'ok', `Node.js ${process.version} on ${process.platform} ${process.arch}`);
  const { fault, lastErrors } = await checkTarget(plugin, target, check, failed);
  const { found, errors } = await planned(plugin);
  // What was said of the target already comes a second time from the dry run, which reads it as well.
  const news = errors.filter(({ message }) => message !== fault);
  const [ofTables, general] = [news.filter(({ table }) => table), news.filter(({ table }) => !table)];
  const subjects = general.map(({ code }) => SUBJECTS[code] ?? 'tables');
  if (found) checkConfiguration(found, check);
  // The source is asked first, so that whatever is wrong with the target says nothing of it.
  if (found && subjects.every((subject) => subject === 'target')) {
    check('connection', 'ok', 'The source answers and takes the credentials');
  }
  if (found) checkClock(found.clockSkewMs, check);
  for (const [at, error] of general.entries()) failed(subjects[at], error);
  for (const message of found?.warnings ?? []) check('hint', 'warn', message);
  if (errors.length === 0 && Object.keys(found.tables).length === 0) {
    check('tables', 'warn', 'No table is found', 'Name tables with --tables, or give the role the right to read them.');
  }
  checkTables(found?.tables ?? {}, check);
  for (const error of ofTables) failed('table', error, `${error.table}: `);
  for (const [name, message] of lastErrors) {
    const isNew = errors.every((error) => error.message !== message);
    if (isNew) check('last run', 'warn', `Table ${name} failed: ${message}`);
  }

  const isIll = checks.some(({ level }) => level === 'fail');
  output.result('doctor', { healthy: !isIll, checks }, () => {
    for (const { name, level, message, remedy } of checks) {
      const [mark, colour] = MARKS[level];
      output.say(`${paint(mark.padEnd(4), colour)}  ${name.padEnd(13)}  ${plain(message)}`);
      if (remedy) output.say(`${' '.repeat(21)}→ ${plain(remedy)}`);
    }
  });
  return isIll ? EXIT.found : EXIT.ok;
}

/** What a dry run finds, and all that fails in it. */
async function planned(plugin) {
  try {
    return { found: await plugin.triggerSync(undefined, { dryRun: true }), errors: [] };
  } catch (error) {
    return { found: error.plan ?? null, errors: error.errors?.length > 0 ? error.errors : [error] };
  }
}

/** Gives the message of what fails when the target is read, and how tables failed in their last runs. */
async function checkTarget(plugin, target, check, failed) {
  const inTheWay = target?.type === 'sqlite' ? obstacles(target.path) : [];
  for (const { message, remedy } of inTheWay) check('target', 'fail', message, remedy);
  let status;
  try {
    status = await plugin.getSyncStatus();
  } catch (error) {
    if (inTheWay.length === 0) failed('target', error);
    return { fault: error.message, lastErrors: [] };
  }
  const tables = Object.entries(status.tableMap);
  if (inTheWay.length === 0) {
    const count = `${tables.length} table${tables.length === 1 ? ' was' : 's were'} synced into`;
    const words = tables.length > 0 ? `${count} ${target.path ?? target.url}` : emptyWords(target);
    check('target', 'ok', `${words}${status.isRunning ? '; a run is under way' : ''}`);
  }
  const lastErrors = tables.map(([name, { lastError }]) => [name, lastError]).filter(([, message]) => message);
  return { fault: null, lastErrors };
}

function checkConfiguration({ source, configuredBy, variables }, check) {
  check('configuration', 'ok', `The source is ${source} (from ${configuredBy})`);
  const places = new Map();
  for (const [name, place] of Object.entries(variables)) places.set(place, [...(places.get(place) ?? []), name]);
  for (const [place, names] of places) check('variables', 'ok', `${names.join(', ')} from ${place}`);
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

function checkTables(tables, check) {
  for (const [name, { mode, trackColumns, primaryKey, hints, missingIndex }] of Object.entries(tables)) {
    const by = trackColumns.length > 0 ? `, tracked by ${trackColumns.join(', ')}` : '';
    const key = primaryKey.length > 0 ? `, key ${primaryKey.join(', ')}` : ', no key';
    check('table', 'ok', `${name}: ${mode}${by}${key}`);
    for (const hint of hints) check('hint', 'warn', hint);
    if (missingIndex) check('index', 'warn', `Table ${name} needs an index`, `Run at the source: ${missingIndex}`);
  }
}

module.exports = { doctor };
