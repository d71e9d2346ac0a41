/** A D1 of our own with the table that is copied. */

import * as server from '../programs/d1/server.mjs';
import { sqliteSource } from '../sqlite-family.mjs';

export { rows } from '../sqlite-family.mjs';
export const kind = 'd1';

export async function connect(url) {
  const { origin } = new URL(url);
  const response = await fetch(new URL('/control/databases', origin), { method: 'POST' });
  const { id } = await response.json();
  return sqliteSource(server, `d1+${url}${id}`);
}
