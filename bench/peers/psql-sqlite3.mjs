import { KINDS } from '../kinds.mjs';
import { installed, versionOf } from '../tools.mjs';

const PIPE =
  'psql -X "$1" -c "COPY events TO STDOUT (FORMAT csv)" | sqlite3 "$2" "$3" ".import --csv /dev/stdin events"';

const create = ({ key, columns }) =>
  `CREATE TABLE events (${Object.entries(columns)
    .map(([name, kind]) => `${name} ${KINDS[kind].declared}${name === key ? ' NOT NULL PRIMARY KEY' : ''}`)
    .join(', ')})`;

export default {
  title: 'psql | sqlite3',
  sources: ['postgresql'],
  foreign: true,
  missing: () => {
    const lacking = ['sh', 'psql', 'sqlite3'].filter((name) => !installed(name));
    return lacking.length > 0 ? `${lacking.join(', ')} not installed` : undefined;
  },
  version: async () => (await Promise.all(['psql', 'sqlite3'].map(versionOf))).join(', '),
  load: (source, file) => ({ command: ['sh', '-c', PIPE, 'sh', source.url, file, create(source)] }),
};
