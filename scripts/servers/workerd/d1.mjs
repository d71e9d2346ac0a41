/**
 * A Worker that answers as Cloudflare's REST API does for D1. What runs the statements is D1 itself: its bindings are
 * `D0`, `D1`, …, and the header `x-database` names the one that the database in the path is.
 */

const PATH = /^\/client\/v4\/accounts\/([^/]+)\/d1\/database\/([^/]+)\/(query|raw)$/;

/** The longest string or row that D1 takes; workerd alone would take more. */
const LONGEST = 2_000_000;

const MALFORMED = 'The request is malformed: it needs sql and, if any, an array of params';

/** What tells statements apart: strings, names, comments, words, and the rest one by one. */
const TOKEN =
  /'[^']*'?|"[^"]*"?|`[^`]*`?|\[[^\]]*\]?|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[a-z_\u0080-\uffff][\w$\u0080-\uffff]*|\s+|[\s\S]/giu;

export default {
  async fetch(request, env) {
    // Read in any case: workerd closes a connection with something unread.
    const text = await request.text();
    const [, account, database, form] = PATH.exec(new URL(request.url).pathname) ?? [];
    if (!form || request.method !== 'POST') return failed(404, 7003, 'Could not route to this path');
    const refusal = unauthorized(request.headers, env);
    if (refusal) return refusal;
    if (account !== env.ACCOUNT) {
      return failed(403, 7403, 'The given account is not valid or is not authorized to access this service');
    }
    const binding = env[request.headers.get('x-database')];
    if (!binding) return failed(404, 7404, `The database ${database} could not be found`);
    const queries = parsed(text);
    if (!queries) return failed(400, 7400, MALFORMED);
    const long = queries.some(({ params }) => params.some((value) => length(value) > LONGEST));
    if (long) return failed(400, 7500, 'string or blob too big: SQLITE_TOOBIG', []);

    // What D1's binding does below its own methods, of which none gives both columns and figures.
    const format = form === 'raw' ? 'ROWS_AND_COLUMNS' : 'ARRAY_OF_OBJECTS';
    const answer = await binding.fetcher.fetch(`http://d1/query?resultsFormat=${format}`, {
      method: 'POST',
      body: JSON.stringify(queries.flatMap(({ sql, params }) => statements(sql, params))),
    });
    if (!answer.headers.get('content-type')?.includes('json')) return failed(400, 7400, MALFORMED);
    const result = await answer.json();
    if (!Array.isArray(result)) return failed(400, 7500, result.error, []);
    let rows = 0;
    for (const { results, meta } of result) {
      rows += (form === 'raw' ? results.rows : results).length;
      Object.assign(meta, {
        served_by: 'v3-prod',
        served_by_region: 'WEUR',
        served_by_primary: true,
        timings: { sql_duration_ms: meta.duration },
      });
    }
    return Response.json({ result, success: true, errors: [], messages: [] }, { headers: { 'x-rows': String(rows) } });
  },
};

function failed(status, code, message, result = null) {
  return Response.json({ result, success: false, errors: [{ code, message }], messages: [] }, { status });
}

function unauthorized(headers, env) {
  const bearer = headers.get('authorization');
  const [email, key] = [headers.get('x-auth-email'), headers.get('x-auth-key')];
  if (bearer === null && (email === null || key === null)) {
    return failed(400, 9106, 'Missing X-Auth-Key, X-Auth-Email or Authorization headers');
  }
  const known = bearer === null ? email === env.EMAIL && key === env.TOKEN : bearer === `Bearer ${env.TOKEN}`;
  return known ? undefined : failed(401, 10000, 'Authentication error');
}

/** The queries of a body: one, or several as a batch. */
function parsed(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const queries = (body?.batch ?? [body]).map((query) => ({ sql: query?.sql, params: query?.params ?? [] }));
  const valid = queries.every(({ sql, params }) => typeof sql === 'string' && Array.isArray(params));
  return valid ? queries : undefined;
}

const length = (value) => (typeof value === 'string' ? new TextEncoder().encode(value).length : (value?.length ?? 0));

/** The statements of one SQL text; the parameters are the last one's. */
function statements(text, params) {
  const found = split(text).map((sql) => ({ sql, params: [] }));
  if (found.length === 0) return [{ sql: text, params }];
  found.at(-1).params = params.map((value) => (typeof value === 'boolean' ? Number(value) : value));
  return found;
}

/** Cuts where SQLite's shell does: inside of a trigger's body no `;` ends the statement. */
function split(text) {
  const found = [];
  let sql = '';
  let words = [];
  for (const [token] of text.matchAll(TOKEN)) {
    const trigger = /^CREATE (?:TEMP |TEMPORARY )?TRIGGER /.test(words.join(' '));
    if (token === ';' && (!trigger || words.slice(-2).join(' ') === '; END')) {
      if (words.length > 0) found.push(sql.trim());
      [sql, words] = ['', []];
      continue;
    }
    sql += token;
    // The first words and the last two are enough.
    if (!/^(?:\s|--|\/\*)/.test(token))
      words = [...words.slice(0, 4), ...words.slice(4).slice(-1), token.toUpperCase()];
  }
  if (words.length > 0) found.push(sql.trim());
  return found;
}
