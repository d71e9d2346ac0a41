/** How StarbaseDB is asked. */

import { sourceOf } from '../source.mjs';

/** What `fetch` takes, for one statement. */
export function request(url, sql, params = []) {
  const { uri, token } = sourceOf(url);
  return [
    `${uri}/query/raw`,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ sql, params }),
    },
  ];
}

/** Rows out of an answer. */
export function rowsOf({ result, error }) {
  if (error) throw new Error(error);
  return result.rows;
}
