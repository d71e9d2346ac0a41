import { startServers } from '../../scripts/servers.mjs';

/** Starts servers for a Jest that was not started by `npm test`, which brings its own. */
export default async function serversUp() {
  if (process.env.DATA_SYNC_TEST_POSTGRES) return;
  const { env, stop } = await startServers();
  Object.assign(process.env, env);
  globalThis.stopServers = stop;
}
