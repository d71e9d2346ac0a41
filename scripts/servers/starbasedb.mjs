/** StarbaseDB: its API as a Worker of ours has it, with a Durable Object's SQLite in workerd, which Miniflare brings. */

import { randomBytes } from 'node:crypto';
import { startWorkerd } from './workerd/start.mjs';

/** One function for each server to start. */
export function starbasedbServers() {
  return [startStarbasedb];
}

/** Its URL has the admin's token as the user, and the client's as the password. */
async function startStarbasedb() {
  const [admin, client] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  const secrets = { ADMIN: admin, CLIENT: client };
  return startWorkerd('starbasedb', 'StarbaseDB', secrets, (host) => `http://${admin}:${client}@${host}/`);
}
