import { join } from 'node:path';
import { pythonPrograms } from '../tools.mjs';

const VERSION = '2.6.1';

let programs;

export default {
  title: 'mysql-to-sqlite3',
  sources: ['mariadb'],
  foreign: true,
  slow: true,
  prepare: async () => {
    programs = await pythonPrograms('mysql-to-sqlite3', [`mysql-to-sqlite3==${VERSION}`]);
  },
  version: () => VERSION,
  load: ({ url }, file) => {
    const { hostname, port, username, password, pathname } = new URL(url);
    const server = ['-h', hostname, '-P', port, '-u', username, '--mysql-password', password, '-d', pathname.slice(1)];
    return { command: [join(programs, 'mysql2sqlite'), '-q', '-f', file, ...server, '-t', 'events'] };
  },
};
