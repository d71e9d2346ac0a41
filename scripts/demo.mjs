/**
 * Installs and builds what the demo needs, then runs it:
 * `node scripts/demo.mjs [postgresql|mysql|mongodb|turso|d1|starbasedb|sqlite]`.
 */

import { build } from './build.mjs';
import { entry, packaged, run } from './workspace.mjs';

await entry(async () => {
  await build();
  await run(process.execPath, [packaged('tsx', 'dist/cli.mjs'), 'demo/test.ts', ...process.argv.slice(2)]);
});
