/**
 * How many instructions the hot paths take for each row, counted by callgrind: the same on a busy machine as on a quiet one.
 *
 *   node bench/instructions.mjs                     # compares with bench/instructions.json, and fails where one takes more
 *   node bench/instructions.mjs --update            # keeps the figures
 *   node bench/instructions.mjs --only 'decode'     # paths whose names contain that
 *   node bench/instructions.mjs --profiles FOLDER   # leaves there what callgrind_annotate reads
 *
 * Two runs of a path, over few rows and over many, differ in nothing but the rows, so what a path needs once is not counted.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, platform, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { entry, hostTriple, outcome, root, Stop } from '../scripts/workspace.mjs';
import { print } from './table.mjs';

const PACKAGE = join(root, 'bench', 'hot-paths');
const KEPT = join(root, 'bench', 'instructions.json');
const FEW = 2_000;
const MANY = 12_000;
/** How much more than the kept figure is a failure. */
const MOST = 1.03;

/** Builds the program and gives its file and the compiler's version. */
function build() {
  hostTriple();
  const options = { cwd: PACKAGE, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] };
  const args = ['build', '--release', '--locked', '--bin', 'hot-paths', '--message-format', 'json-render-diagnostics'];
  const built = spawnSync('cargo', args, options);
  if (built.status !== 0) throw new Stop(`${PACKAGE} can't be built`);
  const messages = built.stdout.split('\n').filter(Boolean).map(JSON.parse);
  const file = messages.findLast(({ executable }) => executable).executable;
  const version = spawnSync('rustc', ['--version'], options).stdout.trim();
  return { file, made: `${version}, ${arch()} ${platform()}` };
}

async function expectValgrind() {
  const { code, stderr } = await outcome('valgrind', ['--version']);
  if (code !== 0) {
    throw new Stop(`Instructions are counted by valgrind, which Linux packages under that name: ${stderr.trim()}`);
  }
}

/** How many instructions the program takes for `rows` rows along the path `name`. */
async function count(file, name, rows, folder) {
  const profile = join(folder, `${name.replaceAll(' ', '-')}-${rows}.callgrind`);
  const args = ['--tool=callgrind', `--callgrind-out-file=${profile}`, file, name, String(rows)];
  const { code, stderr } = await outcome('valgrind', args);
  if (code !== 0) throw new Stop(`"${name}" fails under valgrind:\n${stderr}`);
  return Number(/^(?:totals|summary): (\d+)/m.exec(readFileSync(profile, 'utf8'))[1]);
}

async function measure(file, names, folder) {
  const figures = {};
  for (const name of names) {
    const [few, many] = await Promise.all([FEW, MANY].map((rows) => count(file, name, rows, folder)));
    figures[name] = Math.round((many - few) / (MANY - FEW));
  }
  return figures;
}

function keptFigures() {
  try {
    return JSON.parse(readFileSync(KEPT, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return { made: undefined, instructions: {} };
    throw new Stop(`${KEPT} can't be read: ${error.message}`);
  }
}

entry(async () => {
  const { values } = parseArgs({
    options: { update: { type: 'boolean' }, only: { type: 'string' }, profiles: { type: 'string' } },
  });
  await expectValgrind();
  const { file, made } = build();
  const kept = keptFigures();
  const { stdout } = await outcome(file, []);
  const names = stdout.trim().split('\n');
  const wanted = names.filter((name) => name.includes(values.only ?? ''));
  if (wanted.length === 0) throw new Stop(`No path is called so; there are ${names.join(', ')}`);
  const folder = values.profiles ? resolve(values.profiles) : mkdtempSync(join(tmpdir(), 'data-sync-bench-'));
  mkdirSync(folder, { recursive: true });
  let figures;
  try {
    figures = await measure(file, wanted, folder);
  } finally {
    if (!values.profiles) rmSync(folder, { recursive: true });
  }
  const change = (name) => figures[name] / kept.instructions[name];
  print(
    ['instructions a row', 'of the kept figure'],
    wanted.map((name) => [name, String(figures[name]), name in kept.instructions ? change(name).toFixed(3) : '']),
  );
  if (values.update) {
    const all = { ...kept.instructions, ...figures };
    const instructions = Object.fromEntries(names.filter((name) => name in all).map((name) => [name, all[name]]));
    writeFileSync(KEPT, `${JSON.stringify({ made, instructions }, null, 2)}\n`);
    return 0;
  }
  if (kept.made !== made) {
    process.stdout.write(`\nThe kept figures are of ${kept.made ?? 'nothing yet'}; these are of ${made}.\n`);
  }
  const worse = wanted.filter((name) => change(name) > MOST);
  if (worse.length === 0) return 0;
  process.stdout.write(
    `\nMore than 3 % above the kept figure: ${worse.join(', ')}. If that is meant to be, keep it with --update.\n`,
  );
  return 1;
});
