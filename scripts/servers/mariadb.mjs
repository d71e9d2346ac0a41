/** MariaDB: the one that is installed on this machine, or that Debian's package manager can install. */

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { outcome, Stop } from '../workspace.mjs';
import { certify } from './certificate.mjs';
import { candidates, canInstall, howToInstall, install } from './debian.mjs';
import { freePort, inHome, keep } from './keeper.mjs';

const PACKAGE = 'mariadb-server-core';

const FOLDERS = ['/opt/homebrew/opt/mariadb/bin'];

/** Creates the system tables; the one of MariaDB's scripts for it needs programs of the client's package. */
const SYSTEM_TABLES = ['mysql_system_tables.sql', 'mysql_performance_tables.sql', 'mysql_system_tables_data.sql'];

/** Settings for throw-away data: what protects it from a power cut only costs time here. */
const SETTINGS = {
  'skip-name-resolve': '1',
  // Written at once, though not to the disk: a server that is killed keeps what it has confirmed.
  'innodb-flush-log-at-trx-commit': '2',
  'innodb-flush-method': 'nosync',
  'innodb-doublewrite': '0',
  'innodb-log-file-size': '64M',
  'innodb-buffer-pool-size': '1G',
  'innodb-buffer-pool-dump-at-shutdown': '0',
  // What MySQL 8 and every distribution set.
  'character-set-server': 'utf8mb4',
  'collation-server': 'utf8mb4_general_ci',
  'max-allowed-packet': '64M',
};

/** One function for each server to start. */
export function mariadbServers() {
  return [startMariadb];
}

/** The program `mariadbd`, and the folder of the scripts that belong to it. */
async function installedMariadb() {
  const found = find();
  if (found) return found;
  if (!canInstall()) {
    throw new Stop(
      `MariaDB's server (mariadbd) is missing; install it (${howToInstall(PACKAGE)}), or set DATA_SYNC_TEST_MYSQL to the URL of a server's superuser`,
    );
  }
  const failure = await install(PACKAGE);
  const installed = find();
  if (!installed) throw new Stop(failure ?? `${PACKAGE} was installed, but has no mariadbd`);
  return installed;
}

function find() {
  for (const program of candidates('mariadbd', FOLDERS).filter(existsSync)) {
    const shared = join(dirname(dirname(program)), 'share');
    const scripts = ['mysql', 'mariadb'].map((name) => join(shared, name));
    const complete = scripts.find((path) => SYSTEM_TABLES.every((file) => existsSync(join(path, file))));
    if (complete) return { program, scripts: complete };
  }
  return undefined;
}

/** Starts MariaDB; it speaks TLS where a certificate can be made. */
async function startMariadb() {
  const { program, scripts } = await installedMariadb();
  return inHome('mariadb', async (home) => {
    const data = join(home, 'data');
    mkdirSync(data);
    const port = await freePort();
    const settings = [
      '--no-defaults',
      `--datadir=${data}`,
      ...Object.entries(SETTINGS).map(([name, value]) => `--${name}=${value}`),
      // It refuses to run as root only as long as nobody says that this is meant.
      ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    ];
    const [made, tls, version] = await Promise.all([
      outcome(program, [...settings, '--bootstrap', '--skip-networking'], { input: systemTables(scripts) }),
      certify(home),
      outcome(program, ['--no-defaults', '--version']),
    ]);
    if (made.code !== 0) throw new Stop(`${program} --bootstrap failed: ${made.stderr.trim()}`);

    const password = randomBytes(12).toString('hex');
    const first = join(home, 'first.sql');
    const statements = [
      // They come with the system tables, and a closer host name than '%' would count.
      "DROP USER IF EXISTS root@localhost, root@'127.0.0.1', root@'::1'",
      `CREATE OR REPLACE USER root@'%' IDENTIFIED BY '${password}'`,
      "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION",
    ];
    // One statement a line: the server reads the file so, and again when it is started again.
    writeFileSync(first, statements.map((sql) => `${sql};\n`).join(''), { mode: 0o600 });
    const server = [
      program,
      ...settings,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      `--socket=${join(home, 'socket')}`,
      `--pid-file=${join(home, 'pid')}`,
      `--init-file=${first}`,
      '--max-connections=300',
      ...(tls ? [`--ssl-ca=${tls.ca}`, `--ssl-cert=${tls.certificate}`, `--ssl-key=${tls.key}`] : []),
    ];
    // Nothing of the data is to be kept, and an orderly end takes a second.
    const { stop, restart } = await keep({ home, server, port, signal: 'SIGKILL' });
    return {
      url: `mysql://root:${password}@127.0.0.1:${port}/`,
      version: `MariaDB ${/(\d+\.\d+\.\d+)-MariaDB/.exec(version.stdout)?.[1] ?? version.stdout.trim()}`,
      env: tls ? { DATA_SYNC_TEST_MYSQL_CA: tls.ca } : {},
      data,
      stop,
      restart,
    };
  });
}

function systemTables(scripts) {
  const files = SYSTEM_TABLES.map((file) => readFileSync(join(scripts, file), 'utf8'));
  return ['CREATE DATABASE mysql;', 'USE mysql;', ...files].join('\n');
}
