import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './support/child.js';

/** Runs one of the programs that try for long, for a short time and with the addon that is there. */
function attempt(script: string, args: string[]) {
  const path = join(root, 'scripts', script);
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, '--no-build', ...args], { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

const LONG = 240_000;

test.each([
  ['tables', 0.1],
  ['instances', 0.3],
  ['cycles', 0.03],
  ['triggers', 1],
  ['endings', 0.1],
])(
  'under load: %s',
  (name, scale) => {
    const { status, said } = attempt('load.mjs', ['--scale', String(scale), name]);
    expect(said).toContain('Nothing failed, nothing differed, nothing grew');
    expect(status).toBe(0);
  },
  LONG,
);

test(
  'while applications write',
  () => {
    const { status, said } = attempt('soak.mjs', ['--minutes', '0.4']);
    expect(said).toContain('Nothing lost, nothing wrong, nothing grew');
    expect(status).toBe(0);
  },
  LONG,
);
