import { dirname, join } from 'node:path';
import { outcome } from '../../scripts/workspace.mjs';
import { installed, pythonPrograms } from '../tools.mjs';

const VERSION = '1.4.11';
const STREAMS = { postgresql: 'public.events', mariadb: 'bench.events' };

let program;

export default {
  title: 'sling',
  sources: Object.keys(STREAMS),
  foreign: true,
  slow: true,
  missing: () => {
    if (process.platform !== 'linux' || process.arch !== 'x64') return 'its package is for Linux on x64 only';
    return installed('sqlite3') ? undefined : 'sqlite3 not installed';
  },
  prepare: async () => {
    const programs = await pythonPrograms('sling', [`sling-linux-amd64==${VERSION}`]);
    const told = await outcome(join(programs, 'python'), [
      '-c',
      'import sling_linux_amd64; print(sling_linux_amd64.SLING_BIN)',
    ]);
    program = told.stdout.trim();
  },
  version: () => VERSION,
  load: ({ name, url }, file) => {
    const stream = ['--src-conn', 'BENCH_SOURCE', '--src-stream', STREAMS[name]];
    const object = ['--tgt-conn', 'BENCH_TARGET', '--tgt-object', 'main.events'];
    return {
      command: [program, 'run', ...stream, ...object, '--mode', 'full-refresh'],
      env: {
        BENCH_SOURCE: name === 'postgresql' ? `${url}?sslmode=disable` : url,
        BENCH_TARGET: `sqlite://${file}`,
        // Its bulk load is done by this program, which it would download.
        SQLITE_PATH: installed('sqlite3'),
        SLING_HOME_DIR: join(dirname(file), 'sling'),
        SLING_DISABLE_TELEMETRY: 'true',
      },
    };
  },
};
