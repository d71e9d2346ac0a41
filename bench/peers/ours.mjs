import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../programs/ours.mjs', import.meta.url));
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** The program; a table without a track column is left to the defaults. */
function args({ url, track }, file, options = {}) {
  const changed = { ...(track === null ? { track_column: null } : {}), ...options };
  return [program, url, file, ...(Object.keys(changed).length > 0 ? ['--options', JSON.stringify(changed)] : [])];
}

export default {
  title: 'plugin-data-sync',
  version: () => version,
  load: (source, file) => ({ node: args(source, file) }),
  stay: (source, file) => args(source, file),
  again: () => true,
  reconcile: (source, file) => ({ node: args(source, file, { deletes: 'hard' }) }),
  form: 'ours',
};
