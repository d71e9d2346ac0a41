/** A libSQL server of our own with the table that is copied. */

import * as server from '../programs/turso/server.mjs';
import { sqliteSource } from '../sqlite-family.mjs';

export { rows } from '../sqlite-family.mjs';
export const kind = 'turso';

/** The server has one database from the start. */
export async function connect(url) {
  return sqliteSource(server, `turso+${url}`);
}
