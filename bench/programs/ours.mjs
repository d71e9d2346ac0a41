/** `node ours.mjs URL FILE [--stay]`: this package, as its README shows it. */

import { DataSyncPlugin } from '../../index.mjs';
import { stay } from './stay.mjs';

const [url, file, mode] = process.argv.slice(2);

const source = {
  'postgres:': { type: 'postgresql', url },
  'mysql:': { type: 'mysql', url },
  'mongodb:': { type: 'mongodb', uri: url },
}[new URL(url).protocol];

const plugin = new DataSyncPlugin({
  source,
  database: file,
  tables: ['events'],
  track_column: 'updated_at',
  log_level: 'error',
});

const sync = async () => {
  const { rowsInserted, rowsUpdated } = await plugin.triggerSync();
  return rowsInserted + rowsUpdated;
};

await sync();
if (mode === '--stay') await stay(sync);
await plugin.stop();
