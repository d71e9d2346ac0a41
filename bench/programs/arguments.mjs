/** The arguments of a copy by hand: `URL FILE --columns JSON [--track COLUMN] [--stay]`. */

import { parseArgs } from 'node:util';

/** `types` are those of the SQLite columns by their names, the key first; `track` is what tells newer rows. */
export function copyArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      columns: { type: 'string' },
      track: { type: 'string' },
      stay: { type: 'boolean', default: false },
    },
  });
  const [url, file] = positionals;
  return { url, file, types: JSON.parse(values.columns), track: values.track, stays: values.stay };
}
