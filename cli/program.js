'use strict';

const { Command, CommanderError } = require('commander');
const commands = require('./commands.js');
const { doctor } = require('./doctor.js');
const { CODES, EXIT } = require('./exit.js');
const { UsageError, addOptions, number, pluginOptions } = require('./options.js');
const { Output } = require('./output.js');
const { targetOf } = require('./target.js');
const { version } = require('../package.json');

const NAME = 'data-sync';

const EXIT_CODES = `
Exit codes:
${CODES.map(([code, meaning]) => `  ${String(code).padEnd(4)} ${meaning}`).join('\n')}
`;

const examples = (...lines) => `\nExamples:\n${lines.map((line) => `  $ ${NAME} ${line}`).join('\n')}\n`;

/** Runs the command line; gives the exit code. */
async function run(argv) {
  let code = EXIT.ok;
  const program = programOf(async (command, names, flags) => {
    code = await act(command, names, flags);
  });
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // It has said what is wrong; asking for help or the version is nothing wrong.
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}

function programOf(action) {
  const program = new Command(NAME)
    .description(
      'Keeps a SQLite replica of tables that live in PostgreSQL, MySQL, MongoDB, Turso, Cloudflare D1 or StarbaseDB.',
    )
    .version(version)
    .showSuggestionAfterError()
    .showHelpAfterError('(see --help)')
    .addHelpText(
      'after',
      `${examples('doctor', 'sync --tables users,orders --deletes hard', 'watch --interval 5', 'verify users --repair')}
The source comes from EXTERNAL_DB_* in the environment, .dev.vars or the wrangler file, as StarbaseDB itself reads it,
or from --options FILE. Secrets are taken from there and never from a flag.
${EXIT_CODES}`,
    )
    .exitOverride();

  const add = (name, description, command, extend = (made) => made, shown = [name]) =>
    addOptions(extend(program.command(name).description(description)))
      .addHelpText('after', `${examples(...shown)}${EXIT_CODES}`)
      .exitOverride()
      .action((...given) => {
        const [flags] = given.slice(-2);
        return action(
          command,
          given
            .slice(0, -2)
            .flat()
            .filter((each) => each !== undefined),
          flags,
        );
      });

  add(
    'sync',
    'Run once: what is new and changed at the source comes to the target',
    commands.sync,
    (made) => made.option('--dry-run', 'say what a run would do, and write nothing (as plan does)'),
    ['sync', 'sync --tables users --database ./replica.sqlite', 'sync --json | jq .result.tables'],
  );
  add(
    'watch',
    'Run now and then again and again, until interrupted',
    commands.watch,
    (made) => made.option('-i, --interval <minutes>', 'between the starts of two runs', number),
    ['watch --interval 0.5', 'watch --json >> events.jsonl'],
  );
  add('status', 'Say where each table stands', commands.status, undefined, ['status', 'status --json']);
  add(
    'reset',
    'Forget the position of a table, or of all: the next run reads it again over the rows that are there',
    commands.reset,
    (made) => made.argument('[table]', 'its name in the target or at the source').option('-y, --yes', 'do not ask'),
    ['reset users', 'reset --yes'],
  );
  add(
    'verify',
    'Compare the target with the source, value by value',
    commands.verify,
    (made) =>
      made
        .argument('[tables...]', 'names; all when none is given')
        .option('--repair', 'put right exactly what differs'),
    ['verify', 'verify users --repair'],
  );
  add('plan', 'Say what a run would do, with its statements; write nothing', commands.plan, undefined, ['plan']);
  add(
    'doctor',
    'Check configuration, connection, rights, indexes, clocks and target, and say what to do',
    doctor,
    undefined,
    ['doctor', 'doctor --env production'],
  );
  return program;
}

/** Makes the plugin and lets the command use it. */
async function act(command, names, flags) {
  const output = new Output(flags);
  let plugin;
  let wishes;
  try {
    wishes = pluginOptions(flags);
    // Lines would break the bars.
    output.bars = process.stderr.isTTY && !output.json && wishes.log_level === undefined;
    // Doctor says itself what the log would warn of.
    wishes.log_level ??= command === doctor ? 'silent' : output.bars ? 'warn' : 'info';
    if (command === commands.watch && wishes.enabled === false) {
      throw new UsageError("watch has nothing to run: option 'enabled' is false");
    }
    const { DataSyncPlugin } = require('../index.js');
    plugin = new DataSyncPlugin(wishes);
  } catch (error) {
    if (error.code === undefined) throw error;
    output.error(error);
    return EXIT.usage;
  }
  const named = command === commands.verify && names.length === 0 ? undefined : names;
  return commands.perform(command, plugin, output, named, flags, targetOf(wishes));
}

module.exports = { run };
