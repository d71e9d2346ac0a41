/**
 * Feeds what reads foreign bytes with hostile ones: `npm run fuzz -- [--seconds N] [target...]`, all targets and 60 seconds
 * each unless told otherwise.
 *
 * Needs cargo-fuzz and a nightly Rust. What it learns stays in fuzz/corpus for the next time; what shows a defect is left in
 * fuzz/artifacts.
 */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { entry, hostTriple, outcome, root, run, Stop, step } from './workspace.mjs';

const folder = join(root, 'fuzz');

/** A value that takes this many MB or this many seconds is a defect, too. */
const MOST_MB = 1024;
const MOST_SECONDS = 10;

/** The longest inputs. A few bytes of PostgreSQL's numbers are many digits, which would only fill memory. */
const LONGEST = { copy: 4096, forms: 1024, default: 16384 };

const targets = readdirSync(join(folder, 'targets')).map((name) => name.replace(/\.rs$/, ''));

await entry(async () => {
  const { seconds, chosen } = wishes(process.argv.slice(2));
  const triple = hostTriple();
  await ensureTools();
  // Without a sanitizer of memory: safe Rust has no use for one, and what the input takes could not be told from what that takes.
  // The drivers' code that no target enters is left out, which else has to be linked.
  const build = ['+nightly', 'fuzz', 'build', '--sanitizer', 'none', '--strip-dead-code'];
  await step('build', () => run('cargo', build, { cwd: root }));
  const results = [];
  for (const target of chosen) {
    results.push(await step(target, () => fuzz(target, seconds, join(folder, 'target', triple, 'release', target))));
  }
  return report(results);
});

/** What the command line asks for. */
function wishes(args) {
  const chosen = [];
  let seconds = 60;
  for (let at = 0; at < args.length; at += 1) {
    if (args[at] === '--seconds') {
      at += 1;
      seconds = Number(args[at]);
    } else {
      chosen.push(args[at]);
    }
  }
  const unknown = chosen.filter((name) => !targets.includes(name));
  if (unknown.length > 0 || !Number.isInteger(seconds) || seconds < 1) {
    throw new Stop(`npm run fuzz -- [--seconds N] [target...]; the targets: ${targets.join(', ')}`);
  }
  return { seconds, chosen: chosen.length > 0 ? chosen : targets };
}

async function ensureTools() {
  const lacking = [];
  if ((await outcome('cargo', ['+nightly', '--version'])).code !== 0) {
    lacking.push('a nightly Rust, which coverage is measured by: rustup toolchain install nightly --profile minimal');
  }
  if ((await outcome('cargo', ['fuzz', '--version'])).code !== 0) {
    lacking.push('cargo-fuzz: cargo install cargo-fuzz --locked');
  }
  if (lacking.length > 0) throw new Stop(`Fuzzing needs ${lacking.join('\nand ')}`);
}

/** Runs one target, shows what it says, and tells its figures. */
async function fuzz(target, seconds, program) {
  const [corpus, artifacts] = ['corpus', 'artifacts'].map((name) => join(folder, name, target));
  for (const path of [corpus, artifacts]) mkdirSync(path, { recursive: true });
  const dictionary = join(folder, 'dictionaries', `${target}.dict`);
  const args = [
    `-max_total_time=${seconds}`,
    `-rss_limit_mb=${MOST_MB}`,
    `-timeout=${MOST_SECONDS}`,
    `-max_len=${LONGEST[target] ?? LONGEST.default}`,
    `-artifact_prefix=${artifacts}/`,
    '-print_final_stats=1',
    ...(existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
    corpus,
    join(folder, 'seeds', target),
  ];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  const said = [];
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said.push(text);
    process.stderr.write(text);
  });
  const code = await new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new Stop(`${program} can't be run: ${error.message}`)));
    child.on('close', resolve);
  });
  const words = said.join('');
  const last = (pattern) => [...words.matchAll(pattern)].at(-1)?.[1];
  return {
    target,
    runs: last(/stat::number_of_executed_units: (\d+)/g) ?? last(/^#(\d+)\s/gm),
    megabytes: inMegabytes(last(/stat::bytes_fuzzed: (\d+)/g)),
    peak: last(/stat::peak_rss_mb: +(\d+)/g) ?? last(/ rss: (\d+)Mb/g),
    coverage: last(/ cov: (\d+) /g),
    crashes: code === 0 ? 'none' : relative(root, last(/Test unit written to (.+)$/gm) ?? 'see above'),
  };
}

function inMegabytes(bytes) {
  return bytes === undefined ? undefined : (bytes / 1e6).toFixed(1);
}

/** Prints the figures, and tells the exit code. */
function report(results) {
  const head = {
    target: 'target',
    runs: 'runs',
    megabytes: 'MB fed',
    peak: 'peak MB',
    coverage: 'edges',
    crashes: 'crash',
  };
  const rows = [head, ...results];
  const width = (name) => Math.max(...rows.map((row) => `${row[name] ?? '?'}`.length));
  const line = (row) => Object.keys(head).map((name) => `${row[name] ?? '?'}`.padEnd(width(name)));
  process.stdout.write(`\n${rows.map((row) => line(row).join('  ').trimEnd()).join('\n')}\n`);
  const crashed = results.filter(({ crashes }) => crashes !== 'none');
  if (crashed.length === 0) return 0;
  process.stdout.write(
    '\nMend the defect, and keep the input under a telling name in fuzz/seeds, where cargo test reads it from then on.\n',
  );
  return 1;
}
