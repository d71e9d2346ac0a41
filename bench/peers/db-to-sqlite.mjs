import { join } from 'node:path';
import { pythonPrograms } from '../tools.mjs';

const VERSION = '1.5';

let programs;

export default {
  title: 'db-to-sqlite',
  sources: ['postgresql'],
  foreign: true,
  slow: true,
  prepare: async () => {
    programs = await pythonPrograms('db-to-sqlite', [`db-to-sqlite==${VERSION}`, 'psycopg2-binary==2.9.13']);
  },
  version: () => VERSION,
  load: ({ url }, file) => ({
    command: [join(programs, 'db-to-sqlite'), url.replace(/^\w+:/, 'postgresql+psycopg2:'), file, '--table', 'events'],
  }),
};
