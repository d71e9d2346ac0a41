import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonPrograms } from '../tools.mjs';

const VERSION = '1.5.5';
const SCANNERS = { postgresql: 'postgres', mariadb: 'mysql' };
const program = fileURLToPath(new URL('../programs/duckdb-copy.py', import.meta.url));

let programs;

export default {
  title: 'DuckDB',
  sources: Object.keys(SCANNERS),
  foreign: true,
  prepare: async () => {
    const scanners = ['postgres', 'mysql', 'sqlite'].map((name) => `duckdb-extension-${name}-scanner==${VERSION}`);
    programs = await pythonPrograms('duckdb', [`duckdb==${VERSION}`, ...scanners]);
  },
  version: () => VERSION,
  load: ({ name, url }, file) => ({ command: [join(programs, 'python'), program, SCANNERS[name], url, file] }),
};
