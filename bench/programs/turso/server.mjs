/** How Turso's servers are asked: libSQL's protocol (Hrana) as JSON over HTTP. */

import { sourceOf } from '../source.mjs';

/** What `fetch` takes, for one statement whose values are text or integers. */
export function request(url, sql, values = []) {
  const { uri } = sourceOf(url);
  const args = values.map((value) => ({
    type: typeof value === 'string' ? 'text' : 'integer',
    value: String(value),
  }));
  const requests = [{ type: 'execute', stmt: { sql, args } }, { type: 'close' }];
  // The server would compress what `fetch` can unpack, which takes it eight times as long as answering.
  const headers = { 'content-type': 'application/json', 'accept-encoding': 'identity' };
  return [`${uri}v2/pipeline`, { method: 'POST', headers, body: JSON.stringify({ requests }) }];
}

/** Rows out of an answer. An integer arrives as its digits, which SQLite makes an integer of again. */
export function rowsOf({ results: [{ response, error }] }) {
  if (error) throw new Error(error.message);
  return response.result.rows.map((row) => row.map(({ value }) => value ?? null));
}
