/** PgBouncer, in front of a PostgreSQL: it gives each transaction, not each client, a connection. */

import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcome } from '../workspace.mjs';
import { candidates, canInstall, install } from './debian.mjs';
import { freePort, inHome, keep } from './keeper.mjs';

const PACKAGE = 'pgbouncer';

const find = () => candidates(PACKAGE).find(existsSync);

/**
 * Starts it in front of the server at `url`, as `user`; gives nothing where it is not installed and can't be.
 *
 * @returns {Promise<{ url: string, version: string, stop: () => Promise<void> } | undefined>} an address below which every
 *   database of the server is
 */
export async function startPgbouncer(url, user) {
  if (!find() && canInstall()) {
    const failure = await install(PACKAGE);
    if (failure) process.stdout.write(`${failure}\n`);
  }
  const program = find();
  if (!program) return undefined;
  return inHome('pgbouncer', async (home) => {
    const port = await freePort();
    const { hostname, port: behind, username, password } = new URL(url);
    const settings = join(home, 'pgbouncer.ini');
    writeFileSync(
      settings,
      `[databases]
* = host=${hostname} port=${behind} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 1000
server_idle_timeout = 1
`,
      { mode: 0o600 },
    );
    if ('uid' in user) for (const path of [home, settings]) chownSync(path, user.uid, user.gid);
    const { stdout } = await outcome(program, ['--version'], user);
    const { stop } = await keep({ home, user, server: [program, '-q', settings], port, signal: 'SIGTERM' });
    return { url: `postgres://${username}@127.0.0.1:${port}`, version: stdout.split('\n')[0], stop };
  });
}
