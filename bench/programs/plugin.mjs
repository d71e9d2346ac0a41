/** This package, as its README shows it. */

import { DataSyncPlugin } from '../../index.mjs';
import { sourceOf } from './source.mjs';

/** Copies the table `events` of the database at `url` to `file`, with further options. */
export function pluginFor(url, file, options = {}) {
  return new DataSyncPlugin({
    source: sourceOf(url),
    database: file,
    tables: ['events'],
    track_column: 'updated_at',
    log_level: 'error',
    ...options,
  });
}
