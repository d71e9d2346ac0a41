import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/child.js';
import type { World } from '../support/world.js';

export const CLI = join(root, 'cli.js');

/** A user's environment, without anything that names a source or a target. */
export const environment = { PATH: process.env.PATH, HOME: process.env.HOME };

/** The command line as a user has it who stands in a folder of the world's. */
export function commandLine(world: World) {
  /** Puts a wrangler file into the folder, and the password beside it. */
  function place(variables: Record<string, string | number> = {}) {
    const { host, port, user, password, database } = world.database.source;
    const all = { TYPE: 'postgresql', HOST: host, PORT: port, USER: user, DATABASE: database, ...variables };
    const lines = Object.entries(all).map(([name, value]) => `EXTERNAL_DB_${name} = ${JSON.stringify(value)}`);
    writeFileSync(join(world.folder.path, 'wrangler.toml'), `[vars]\n${lines.join('\n')}\n`);
    writeFileSync(join(world.folder.path, '.dev.vars'), `EXTERNAL_DB_PASS=${password}\n`);
  }

  function cliWith(variables: Record<string, string>, ...args: string[]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
      cwd: world.folder.path,
      encoding: 'utf8',
      env: { ...environment, ...variables },
    });
    expect(stdout + stderr).not.toContain(world.database.source.password);
    return { status, stdout, stderr };
  }

  const cli = (...args: string[]) => cliWith({}, ...args);

  /** The last line of `--json`; each line has to be JSON. */
  function json(...args: string[]) {
    const { status, stdout } = cli(...args, '--json');
    const lines = stdout.trimEnd().split('\n');
    return { status, lines: lines.map((line) => JSON.parse(line)), last: JSON.parse(lines.at(-1) as string) };
  }

  return { place, cli, cliWith, json };
}
