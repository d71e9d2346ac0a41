/** What the peers need of this machine: programs, npm packages, and Python packages in environments of the bench's own. */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { outcome, root, Stop } from '../scripts/workspace.mjs';

const ENVIRONMENTS = join(root, 'bench', '.peers');

/** The path of a program that is installed. */
export function installed(program) {
  return process.env.PATH.split(delimiter)
    .map((folder) => join(folder, program))
    .find(existsSync);
}

/** A program's name and the version that it tells. */
export async function versionOf(program) {
  return `${program} ${/\d+(\.\d+)+/.exec((await outcome(program, ['--version'])).stdout)?.[0]}`;
}

/** The names of npm packages, each with the version that is installed. */
export function npmVersions(names) {
  const version = (name) => JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
  return names.map((name) => `${name} ${version(name)}`).join(', ');
}

/**
 * The folder of the programs in a virtual environment with these packages of PyPI, made where it is missing: one for each
 * peer, so that none decides on the versions of another's.
 */
export async function pythonPrograms(name, packages) {
  const made = createHash('sha1').update(packages.join(' ')).digest('hex').slice(0, 8);
  const folder = join(ENVIRONMENTS, `${name}-${made}`);
  const programs = join(folder, 'bin');
  // Written last: its programs name the folder, so it can't be made aside and moved.
  const complete = join(folder, 'complete');
  if (existsSync(complete)) return programs;
  process.stdout.write(`Installing ${packages.join(', ')}\n`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(ENVIRONMENTS, { recursive: true });
  await python('python3', ['-m', 'venv', folder]);
  await python(join(programs, 'python'), [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    ...packages,
  ]);
  writeFileSync(complete, '');
  return programs;
}

async function python(program, args) {
  const { code, stderr } = await outcome(program, args);
  if (code !== 0) throw new Stop(`${program} ${args.slice(0, 3).join(' ')} failed: ${stderr.trim().slice(-500)}`);
}
