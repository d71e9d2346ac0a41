/** Programs that Debian's package manager can install. */

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { outcome } from '../workspace.mjs';

const APT = '/usr/bin/apt-get';

/** Where package managers put a server that is not in everybody's path. */
const FOLDERS = ['/usr/sbin', '/usr/libexec', '/usr/local/sbin'];

/** The paths where a program may be. */
export function candidates(program, further = []) {
  return [...(process.env.PATH ?? '').split(delimiter), ...FOLDERS, ...further].map((folder) => join(folder, program));
}

/** What a user has to do to have `name`. */
export function howToInstall(name) {
  return existsSync(APT) ? `sudo apt-get install ${name}` : 'with the package manager of your system';
}

/** Whether packages can be installed without asking anybody. */
export function canInstall() {
  return process.getuid?.() === 0 && existsSync(APT);
}

/** Installs a package; gives what went wrong, if anything did. */
export async function install(name) {
  process.stdout.write(`Installing ${name}\n`);
  const options = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
  // Old lists may do: only the installation has to succeed.
  await outcome(APT, ['update', '-qq', '-o', 'DPkg::Lock::Timeout=300'], options);
  const made = await outcome(
    APT,
    ['install', '-y', '-qq', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', name],
    options,
  );
  return made.code === 0 ? undefined : `apt-get install ${name} failed: ${made.stderr.trim()}`;
}
