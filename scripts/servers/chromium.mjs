/** Chromium, for the test of the page: the one that is installed, or that Debian's package manager can install. */

import { existsSync } from 'node:fs';
import { candidates, canInstall, install } from './debian.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

const find = () => NAMES.flatMap((name) => candidates(name)).find(existsSync);

/** Its path; nothing where there is none. */
export async function ensureChromium() {
  if (!find() && canInstall()) {
    const failure = await install('chromium');
    if (failure) process.stdout.write(`${failure}\n`);
  }
  return find();
}
