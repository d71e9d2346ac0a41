/**
 * Installs what is published as users do, and uses it: `node scripts/try-package.mjs [--no-build]`.
 *
 * The tarballs are installed into an empty project, where no Rust can be found, and used from CommonJS, ES modules, TypeScript and Jest, by the oldest
 * Node.js that is supported (or this one) and by the newest that npm has; and from the command line. They write a file, and a StarbaseDB in a
 * Durable Object.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { build } from './build.mjs';
import { pack } from './pack.mjs';
import { starbasedbServers } from './servers/starbasedb.mjs';
import { entry, root, Stop, step } from './workspace.mjs';

const Database = createRequire(import.meta.url)('better-sqlite3');

/** What an addon may take: bytes of the file, and milliseconds until it is loaded. */
const [LARGEST, LONGEST] = [15e6, 50];
const TRIALS = 5;
/** Packages by which the project uses this one, in the versions that the checkout has. */
const BESIDE = ['jest', 'typescript', '@types/node'];

const PROGRAM = `
const plugin = new DataSyncPlugin({ source: { type: 'sqlite', path: 'source.sqlite' }, database: 'replica.sqlite', log_level: 'silent' });
`;

const PROGRAMS = {
  'commonjs.cjs': `const { DataSyncPlugin } = require('@starbasedb/plugin-data-sync');
${PROGRAM}
plugin.triggerSync().then(({ rowsInserted }) => console.log(rowsInserted));`,
  'module.mjs': `import { DataSyncPlugin } from '@starbasedb/plugin-data-sync';
${PROGRAM}
console.log((await plugin.triggerSync()).rowsInserted);`,
  'options.json': JSON.stringify({
    source: { type: 'sqlite', path: 'source.sqlite' },
    tables: [{ name: 'users', select: { initial: 'substr(name, 1, 1)' }, mask: { name: 'redact' } }],
    log_level: 'silent',
  }),
  'deployed.mjs': `import { readFileSync } from 'node:fs';
import { DataSyncPlugin } from '@starbasedb/plugin-data-sync';
const target = { type: 'starbasedb', url: process.env.TARGET_URL, token: process.env.DATA_SYNC_TARGET_TOKEN };
const plugin = new DataSyncPlugin({ ...JSON.parse(readFileSync('options.json', 'utf8')), target });
console.log((await plugin.triggerSync()).rowsInserted);`,
  'typed.ts': `import { DataSyncPlugin, type SyncStats } from '@starbasedb/plugin-data-sync';
const plugin = new DataSyncPlugin({ source: { type: 'sqlite', path: 'source.sqlite' }, database: 'replica.sqlite' });
const stats: Promise<SyncStats> = plugin.triggerSync(['users']);
plugin.on('syncComplete', ({ rowsInserted }) => rowsInserted.toFixed());
// @ts-expect-error: there is no such option
new DataSyncPlugin({ sync_intervall: 1 });
export default stats;`,
  'used.test.js': `const { DataSyncPlugin } = require('@starbasedb/plugin-data-sync');
test('syncs', async () => {
${PROGRAM}
  expect((await plugin.triggerSync()).rowsInserted).toBe(2);
});`,
};

await entry(async () => {
  const { values } = parseArgs({ options: { 'no-build': { type: 'boolean', default: false } } });
  const folder = mkdtempSync(join(tmpdir(), 'data-sync-package-'));
  try {
    // In a folder of its own, so that the addon that tests load stays as it is.
    const addons = join(folder, 'addons');
    mkdirSync(addons);
    if (values['no-build']) copyAddons(addons);
    else await step('release build', () => build(['--release', '--output-dir', addons]));
    const tarballs = await step('pack', () => pack({ addons, to: join(folder, 'tarballs') }));
    const project = join(folder, 'project');
    await step('install', () => install(project, tarballs));
    if (!values['no-build']) checkSize(addons);
    for (const node of [process.execPath, await newest(join(folder, 'newest'))]) {
      const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
      await step(`Node.js ${stdout.trim()}`, () => use(project, node));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function copyAddons(to) {
  for (const name of readdirSync(root).filter((name) => name.endsWith('.node')))
    cpSync(join(root, name), join(to, name));
}

function checkSize(addons) {
  for (const name of readdirSync(addons).filter((name) => name.endsWith('.node'))) {
    const { size } = statSync(join(addons, name));
    process.stdout.write(`${name}: ${(size / 1e6).toFixed(2)} MB\n`);
    if (size > LARGEST) throw new Stop(`${name} is larger than ${LARGEST / 1e6} MB`);
  }
}

/** An environment in which no Rust is found. */
function withoutRust(node) {
  const has = (folder) => spawnSync(join(folder, 'cargo'), ['--version']).status === 0;
  const path = process.env.PATH.split(delimiter).filter((folder) => !has(folder));
  return { ...process.env, PATH: [dirname(node), ...path].join(delimiter), CARGO_HOME: '', RUSTUP_HOME: '' };
}

function command(file, args, { cwd, node = process.execPath, env = {} }) {
  const shell = process.platform === 'win32' && file === 'npm';
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    cwd,
    env: { ...withoutRust(node), ...env },
    encoding: 'utf8',
    shell,
  });
  if (status !== 0) throw new Stop(`${file} ${args.join(' ')}: ${error?.message ?? ''}\n${stdout}\n${stderr}`);
  return stdout.trim();
}

function install(project, tarballs) {
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'project', private: true }));
  const beside = BESIDE.map((name) => `${name}@${manifestOf(join('node_modules', name)).version}`);
  command('npm', ['install', '--no-audit', '--no-fund', ...tarballs, ...beside], { cwd: project });
  const installed = readdirSync(join(project, 'node_modules', '@starbasedb'));
  process.stdout.write(`${installed.join(', ')}\n`);
  if (installed.length !== 2) throw new Stop(`Not the package and one platform: ${installed}`);
  for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(join(project, name), text);
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}

/** The newest Node.js there is, or this one where npm has none for the platform. */
async function newest(folder) {
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{}');
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  try {
    command('npm', ['install', '--no-audit', '--no-fund', `${name}@latest`], { cwd: folder });
  } catch (error) {
    process.stdout.write(`NOT TRIED with the newest Node.js: ${error.message}\n`);
    return process.execPath;
  }
  return join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

/** Writes a StarbaseDB in a Durable Object: by a program, and by the command line, whose doctor looks at it first. */
async function useDeployed(project, node, cli) {
  const server = await starbasedbServers()[0]();
  try {
    const { origin, username: token } = new URL(server.url);
    // Our Worker has many instances, told by the first part of the path.
    const url = `${origin}/app`;
    const asked = { cwd: project, node, env: { TARGET_URL: url, DATA_SYNC_TARGET_TOKEN: token } };
    expectTwo('deployed.mjs', command(node, ['deployed.mjs'], asked));
    const answer = await fetch(`${url}/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ sql: 'SELECT id, name, initial FROM users ORDER BY id' }),
    });
    const { result } = await answer.json();
    const expected = [
      { id: 1, name: '[redacted]', initial: 'A' },
      { id: 2, name: null, initial: null },
    ];
    if (!isDeepStrictEqual(result, expected)) throw new Stop(`The deployed StarbaseDB has ${JSON.stringify(result)}`);
    for (const name of ['doctor', 'sync', 'verify']) {
      command(node, [cli, name, '--options', 'options.json', '--target-url', url], asked);
    }
  } finally {
    await server.stop();
  }
}

function expectTwo(program, said) {
  if (said !== '2') throw new Stop(`${program} said ${said}`);
}

async function use(project, node) {
  const fresh = () => {
    for (const name of readdirSync(project).filter((name) => name.includes('.sqlite'))) rmSync(join(project, name));
    const source = new Database(join(project, 'source.sqlite'));
    source.exec(
      "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, 'Ada'), (2, NULL)",
    );
    source.close();
  };
  for (const program of ['commonjs.cjs', 'module.mjs']) {
    fresh();
    expectTwo(program, command(node, [program], { cwd: project, node }));
  }
  const cli = join('node_modules', '@starbasedb', 'plugin-data-sync', 'cli.js');
  const status = JSON.parse(
    command(node, [cli, 'status', '--database', 'replica.sqlite', '--json'], { cwd: project, node }),
  );
  expectTwo('the command line', String(status.result.tableMap.users.recordCount));
  await useDeployed(project, node, cli);
  fresh();
  command(node, [join('node_modules', 'jest', 'bin', 'jest.js'), 'used.test.js'], { cwd: project, node });
  for (const [module, resolution] of [
    ['node16', 'node16'],
    ['esnext', 'bundler'],
  ]) {
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      module,
      '--moduleResolution',
      resolution,
      '--target',
      'es2022',
    ];
    command(node, [join('node_modules', 'typescript', 'bin', 'tsc'), ...options, 'typed.ts'], { cwd: project, node });
  }
  const load = `const begin = performance.now();
    require('@starbasedb/plugin-data-sync');
    console.log(performance.now() - begin)`;
  const times = Array.from({ length: TRIALS }, () => Number(command(node, ['-e', load], { cwd: project, node })));
  const best = Math.min(...times);
  process.stdout.write(
    `CommonJS, ES module, command line, deployed StarbaseDB, TypeScript and Jest; loaded in ${best.toFixed(1)} ms\n`,
  );
  if (best > LONGEST) throw new Stop(`Loading takes more than ${LONGEST} ms`);
}
