/** One statement over HTTP. A `server` is a `server.mjs` beside this file: how one is asked, and what it answers. */

/** Rows as arrays. */
export async function ask(server, url, sql, values) {
  const response = await fetch(...server.request(url, sql, values));
  const text = await response.text();
  try {
    return server.rowsOf(JSON.parse(text));
  } catch (error) {
    throw new Error(`HTTP ${response.status}: ${error.message}: ${text.slice(0, 300)}`);
  }
}
