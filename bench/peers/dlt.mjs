import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonPrograms } from '../tools.mjs';

const VERSION = '1.31.0';
const CONNECTORX = '0.4.6';
const DRIVERS = { postgresql: 'postgresql+psycopg2:', mariadb: 'mysql+pymysql:' };
const program = fileURLToPath(new URL('../programs/dlt-copy.py', import.meta.url));

let programs;

export default {
  title: 'dlt, connectorx',
  sources: Object.keys(DRIVERS),
  foreign: true,
  slow: true,
  prepare: async () => {
    const drivers = ['pyarrow==26.0.1', 'psycopg2-binary==2.9.13', 'PyMySQL==1.2.4'];
    programs = await pythonPrograms('dlt', [`dlt[sqlalchemy]==${VERSION}`, `connectorx==${CONNECTORX}`, ...drivers]);
  },
  version: () => `${VERSION}, connectorx ${CONNECTORX}`,
  load: ({ name, url }, file) => ({
    command: [join(programs, 'python'), program, url.replace(/^\w+:/, DRIVERS[name]), file],
    env: { RUNTIME__DLTHUB_TELEMETRY: 'false' },
  }),
};
