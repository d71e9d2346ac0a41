'use strict';

/** The HTTP status of an error's code: whose fault it is, and whether to try again. */
const STATUS = {
  CONFIG: 500,
  CONNECT: 502,
  AUTH: 502,
  TABLE_NOT_FOUND: 404,
  TYPE_MAP: 422,
  SCHEMA: 409,
  SOURCE_READ: 502,
  TARGET_WRITE: 500,
  TARGET_BUSY: 503,
  RATE_LIMITED: 503,
  SOURCE_CHANGED: 409,
  DELETE_LIMIT: 409,
  SYNC_DISABLED: 409,
  ABORTED: 409,
  CLOSED: 503,
  INTERNAL: 500,
};

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

/** An answer in JSON. */
function json(value, status = 200) {
  const headers = { ...HEADERS, 'content-type': 'application/json; charset=utf-8' };
  return new Response(JSON.stringify(value), { status, headers });
}

/** An answer of another type. */
function content(body, type, headers = {}) {
  return new Response(body, { headers: { ...HEADERS, 'content-type': type, ...headers } });
}

/** What is answered to a request that can't be taken. */
function refusal(status, code, message) {
  return json({ error: { code, message } }, status);
}

/** The answer to a call that failed. */
function failure(error) {
  const told = plainError(error);
  const stats = error.stats ?? null;
  const errors = (error.errors ?? []).map(plainError);
  const plan = error.plan ?? null;
  return json({ error: { ...told, stats, errors, plan } }, STATUS[told.code] ?? 500);
}

/** An error as data, without its stack. */
function plainError({ code, message, table = null, retryable = false }) {
  // Only errors of ours are known to hold no secret.
  return Object.hasOwn(STATUS, code)
    ? { code, message, table, retryable }
    : { code: 'INTERNAL', message: 'The request failed', table: null, retryable: false };
}

/** A request that can't be taken. */
class BadRequest extends Error {
  constructor(message, status = 400) {
    super(message);
    this.status = status;
  }
}

const MOST_BYTES = 64 * 1024;

/** The text of a request of Hono's, which keeps what another part of the app has read by it. */
async function textOf(request) {
  const body = request.raw.bodyUsed ? [Buffer.from(await request.text())] : (request.raw.body ?? []);
  const chunks = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MOST_BYTES) throw new BadRequest(`The body is larger than ${MOST_BYTES / 1024} KB`, 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * The body of a request: a JSON object with these members only, each checked by its function, which gives what it takes
 * when the value is not that.
 */
async function bodyOf(request, members) {
  const type = request.header('content-type')?.split(';')[0].trim().toLowerCase();
  // A form on another page can't send this type, so no browser is made to call by one.
  if (type !== 'application/json') throw new BadRequest('Content-Type has to be application/json', 415);
  const text = await textOf(request);
  let value = {};
  try {
    if (text.trim() !== '') value = JSON.parse(text);
  } catch {
    throw new BadRequest('The body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BadRequest('The body has to be a JSON object');
  }
  for (const [name, member] of Object.entries(value)) {
    if (!Object.hasOwn(members, name)) {
      throw new BadRequest(`Unknown member '${name}'; it takes ${Object.keys(members).join(', ')}`);
    }
    const takes = members[name](member);
    if (takes) throw new BadRequest(`Member '${name}' takes ${takes}`);
  }
  return value;
}

const isName = (value) => typeof value === 'string' && value !== '';

/** Checks of members. */
const tableNames = (value) => (Array.isArray(value) && value.every(isName) ? null : "an array of tables' names");
const tableName = (value) => (isName(value) ? null : "a table's name");
const flag = (value) => (typeof value === 'boolean' ? null : 'true or false');

module.exports = { BadRequest, bodyOf, content, failure, flag, json, plainError, refusal, tableName, tableNames };
