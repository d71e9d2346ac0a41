/** A StarbaseDB of our own with the table that is copied. */

import * as server from '../programs/starbasedb/server.mjs';
import { sqliteSource } from '../sqlite-family.mjs';

export { rows } from '../sqlite-family.mjs';
export const kind = 'starbasedb';

/** The server makes an instance when it is first asked. Its URL has a second token, which is not needed. */
export async function connect(url) {
  const { protocol, username, host } = new URL(url);
  return sqliteSource(server, `starbasedb+${protocol}//${username}@${host}/bench`);
}
