'use strict';

const { readFileSync } = require('node:fs');
const { InvalidArgumentError, Option } = require('commander');

/** The variable that brings the token of a target that is reached over HTTP. */
const TARGET_TOKEN = 'DATA_SYNC_TARGET_TOKEN';

/** A problem with what the user typed. */
class UsageError extends Error {
  code = 'CONFIG';
}

const list = (text) =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);

function number(text) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It takes a number.');
  return value;
}

/** Adds what every command takes. */
function addOptions(command) {
  return command
    .optionsGroup('Where rows come from and go:')
    .option('-c, --config <file>', 'wrangler file with EXTERNAL_DB_* (default: wrangler.toml, .json or .jsonc here)')
    .option('-e, --env <name>', 'environment of that file: [env.NAME.vars]')
    .option('-d, --database <file>', "SQLite file to write to; 'auto' is that of `wrangler dev` here")
    .option('--target-url <url>', `a deployed StarbaseDB to write to; its token is in $${TARGET_TOKEN}`)
    .optionsGroup('What is synced, and how:')
    .addOption(
      new Option('-t, --tables <names>', "tables, separated by commas; 'schema.table' and * work").argParser(list),
    )
    .addOption(
      new Option(
        '--track-column <names>',
        'column that tells what changed; of several, the first that is not NULL',
      ).argParser(list),
    )
    .addOption(new Option('--deletes <what>', 'rows that left the source').choices(['none', 'hard', 'soft']))
    .addOption(new Option('--batch-size <rows>', 'rows in one transaction').argParser(number))
    .addOption(new Option('--lookback <seconds>', 'how far each run reads again').argParser(number))
    .option('-o, --options <file>', 'JSON file with any other options of DataSyncPlugin; the flags here count more')
    .optionsGroup('What is printed:')
    .option('--json', 'one JSON object on each line of stdout, and nothing else there')
    .addOption(
      new Option('-l, --log-level <level>', 'what is logged on stderr').choices([
        'debug',
        'info',
        'warn',
        'error',
        'silent',
      ]),
    )
    .option('-q, --quiet', 'only errors');
}

/** The plugin's options that the flags ask for. */
function pluginOptions(flags) {
  const file = flags.options === undefined ? {} : optionsOf(flags.options);
  const wishes = {
    ...file,
    ...given('config', flags.config),
    ...given('environment', flags.env),
    ...given('tables', flags.tables),
    ...given('track_column', flags.trackColumn?.length === 1 ? flags.trackColumn[0] : flags.trackColumn),
    ...given('deletes', flags.deletes),
    ...given('batch_size', flags.batchSize),
    ...given('lookback', flags.lookback),
    ...given('sync_interval', flags.interval),
    ...given('log_level', flags.quiet ? 'error' : flags.logLevel),
  };
  if (flags.database !== undefined && flags.targetUrl !== undefined) {
    throw new UsageError('--database and --target-url exclude each other; give one of them');
  }
  if (flags.database !== undefined || flags.targetUrl !== undefined) {
    delete wishes.database;
    delete wishes.target;
  }
  if (flags.database !== undefined) wishes.database = flags.database;
  if (flags.targetUrl !== undefined) {
    const token = process.env[TARGET_TOKEN];
    // Not as a flag: everybody on a machine may see how a process was called, and shells write it down.
    if (!token) throw new UsageError(`--target-url needs the token of that StarbaseDB in $${TARGET_TOKEN}`);
    wishes.target = { type: 'starbasedb', url: flags.targetUrl, token };
  }
  return wishes;
}

const given = (name, value) => (value === undefined ? {} : { [name]: value });

function optionsOf(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--options: ${path} can't be read (${error.code})`);
  }
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's words quote the text, which may hold a secret.
    throw new UsageError(`--options: ${path} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`--options: ${path} has to hold a JSON object`);
  }
  return value;
}

module.exports = { UsageError, addOptions, number, pluginOptions };
