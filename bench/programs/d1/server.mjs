/** How D1 is asked: Cloudflare's REST interface. */

import { sourceOf } from '../source.mjs';

/** What `fetch` takes, for one statement. */
export function request(url, sql, params = []) {
  const { api_key, account_id, database_id, url: base } = sourceOf(url);
  return [
    `${base}client/v4/accounts/${account_id}/d1/database/${database_id}/raw`,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${api_key}` },
      body: JSON.stringify({ sql, params }),
    },
  ];
}

/** Rows out of an answer. */
export function rowsOf({ result, errors }) {
  if (errors.length > 0) throw new Error(errors[0].message);
  return result[0].results.rows;
}
