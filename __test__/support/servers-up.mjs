import { missingKinds, startServers } from '../../scripts/servers.mjs';

/** Starts servers for a Jest that was not started by `npm test`, which brings its own. */
export default async function serversUp() {
  const { env, stop } = await startServers({ only: missingKinds() });
  Object.assign(process.env, env);
  globalThis.stopServers = stop;
}
