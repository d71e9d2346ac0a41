/** Starts the process that has workerd in it. */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packaged, Stop } from '../../workspace.mjs';
import { freePort, inHome, keep } from '../keeper.mjs';

const RUN = fileURLToPath(new URL('run.mjs', import.meta.url));

/** Starts a Worker of the `kind`, whose bindings are the `secrets`; `urlOf` makes the URL out of host and port. */
export function startWorkerd(kind, name, secrets, urlOf) {
  const manifest = packaged('miniflare', 'package.json');
  if (!existsSync(manifest)) throw new Stop(`${name} needs the package miniflare; run npm ci`);
  return inHome(kind, async (home) => {
    const port = await freePort();
    const server = [process.execPath, RUN, JSON.stringify({ kind, port, home, secrets })];
    const { stop } = await keep({ home, server, port, signal: 'SIGTERM' });
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
    return { url: urlOf(`127.0.0.1:${port}`), version: `${name} of Miniflare ${version}`, stop };
  });
}
