import { fileURLToPath } from 'node:url';
import { KINDS } from '../kinds.mjs';
import { npmVersions } from '../tools.mjs';

const DRIVERS = { postgresql: ['pg', 'pg-cursor'], mariadb: ['mysql2'], mongodb: ['mongodb'] };

/** The program, and for a source that tells its columns those and what tracks changes; other programs know theirs. */
function program({ name, url, columns, track }, file) {
  const path = fileURLToPath(new URL(`../programs/${name}/by-hand.mjs`, import.meta.url));
  if (!columns) return [path, url, file];
  const types = Object.fromEntries(Object.entries(columns).map(([column, kind]) => [column, KINDS[kind].declared]));
  return [path, url, file, '--columns', JSON.stringify(types), ...(track ? ['--track', track] : [])];
}

export default {
  title: 'JS by hand',
  version: ({ name }) => npmVersions([...(DRIVERS[name] ?? []), 'better-sqlite3']),
  load: (source, file) => ({ node: program(source, file) }),
  stay: (source, file) => program(source, file),
  again: ({ columns }) => columns !== undefined,
  form: 'raw',
};
