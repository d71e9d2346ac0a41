import { fileURLToPath } from 'node:url';
import { installed, versionOf } from '../tools.mjs';

/** The client of a database that reads the table and throws it away, where it is installed. */
const CLIENTS = {
  postgresql: {
    program: 'psql',
    load: ({ url }) => ({ command: ['psql', '-X', url, '-c', 'COPY events TO STDOUT (FORMAT binary)'] }),
  },
  mariadb: {
    program: 'mariadb',
    load: ({ url }) => {
      const { hostname, port, username, password, pathname } = new URL(url);
      const address = ['-h', hostname, '-P', port, '-u', username, '--protocol=tcp', pathname.slice(1)];
      return {
        command: ['mariadb', '--no-defaults', '--skip-ssl', ...address, '--quick', '-e', 'SELECT * FROM events'],
        env: { MYSQL_PWD: password },
      };
    },
  },
};

const client = ({ name }) => (CLIENTS[name] && installed(CLIENTS[name].program) ? CLIENTS[name] : undefined);

export default {
  title: 'limit: read and thrown away',
  floor: true,
  version: (source) => client(source) && versionOf(client(source).program),
  load: (source) =>
    client(source)?.load(source) ?? {
      node: [fileURLToPath(new URL(`../programs/${source.name}/limit.mjs`, import.meta.url)), source.url],
    },
};
