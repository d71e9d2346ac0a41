/** D1: the real one of workerd, which Miniflare brings, behind a Worker that answers as Cloudflare's REST API does. */

import { randomBytes } from 'node:crypto';
import { startWorkerd } from './workerd/start.mjs';

const EMAIL = 'test@example.com';

/** One function for each server to start. */
export function d1Servers() {
  return [startD1];
}

/** Its URL has the account as the user, and the token (also the key of that e-mail address) as the password. */
async function startD1() {
  const [account, token] = [randomBytes(16).toString('hex'), randomBytes(20).toString('hex')];
  const secrets = { ACCOUNT: account, TOKEN: token, EMAIL };
  return startWorkerd('d1', 'D1', secrets, (host) => `http://${account}:${token}@${host}/`);
}
