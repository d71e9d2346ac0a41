/**
 * Runs all tests against real servers: `node scripts/test.mjs [rust|node] [arguments of cargo test or jest]`.
 *
 * Everything needed is installed, built and started first.
 */

import { build } from './build.mjs';
import { ensureChromium } from './servers/chromium.mjs';
import { withServers } from './servers.mjs';
import { ensurePackages, entry, hostTriple, packaged, run, Stop, step } from './workspace.mjs';

await entry(async () => {
  const [first, ...rest] = process.argv.slice(2);
  const only = first === 'rust' || first === 'node' ? first : null;
  const extra = only || first === undefined ? rest : [first, ...rest];
  const triple = hostTriple();
  await ensurePackages();

  await withServers(async (env) => {
    if (only !== 'node') {
      const args = ['test', '--no-default-features', '--target', triple, ...(only ? extra : [])];
      await step('Rust tests', () => run('cargo', args, { env }));
    }
    if (only === 'rust') return;
    await step('addon', async () => {
      const stale = await build();
      if (stale.length > 0 && process.env.CI) {
        throw new Stop(`${stale.join(' and ')} did not fit the sources; run npm run build and commit them`);
      }
      if (stale.length > 0) process.stdout.write(`Rewrote ${stale.join(' and ')}; commit them\n`);
    });
    await step('type tests', () => run(process.execPath, [packaged('typescript', 'bin/tsc'), '--noEmit']));
    const browser = await ensureChromium();
    const all = browser ? { ...env, DATA_SYNC_TEST_CHROMIUM: browser } : env;
    await step('Node.js tests', () => run(process.execPath, [packaged('jest', 'bin/jest.js'), ...extra], { env: all }));
  });
});
