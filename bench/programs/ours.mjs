/** `node ours.mjs URL FILE [--options JSON] [--stay]`: this package. */

import { parseArgs } from 'node:util';
import { pluginFor } from './plugin.mjs';
import { stay } from './stay.mjs';

const {
  positionals: [url, file],
  values: { options, stay: stays },
} = parseArgs({
  allowPositionals: true,
  options: { options: { type: 'string', default: '{}' }, stay: { type: 'boolean', default: false } },
});

const plugin = pluginFor(url, file, JSON.parse(options));

const sync = async () => {
  const { rowsInserted, rowsUpdated } = await plugin.triggerSync();
  return rowsInserted + rowsUpdated;
};

await sync();
if (stays) await stay(sync);
await plugin.stop();
