'use strict';

const { createHash, timingSafeEqual } = require('node:crypto');
const { invalid, kindOf } = require('../plain.js');
const { refusal } = require('./answer.js');

const digest = (text) => createHash('sha256').update(text).digest();

/**
 * Who may use the routes, from the options of `register`: gives a function that tells, for a request's context, what is
 * answered instead, or nothing when it may go on.
 *
 * A token or a function of the user's decides. Where neither is given, only StarbaseDB's word counts, that the request came
 * with the admin's token: without it nobody is let in.
 */
function accessOf({ token, authorize }, entry) {
  if (token !== undefined && (typeof token !== 'string' || token === '')) {
    const got = token === '' ? 'an empty string' : kindOf(token);
    throw invalid(
      TypeError,
      `Option 'token' is ${got}; it takes the text that requests bring as a bearer token`,
      entry,
    );
  }
  if (authorize !== undefined && typeof authorize !== 'function') {
    throw invalid(TypeError, `Option 'authorize' is ${kindOf(authorize)}; it takes a function of the context`, entry);
  }
  if (token !== undefined && authorize !== undefined) {
    throw invalid(TypeError, "Options 'token' and 'authorize' exclude each other; give one of them", entry);
  }
  if (token !== undefined) {
    const expected = digest(token);
    return async (c) => {
      const brought = /^Bearer +(.+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
      if (brought === undefined) return refusal(401, 'UNAUTHORIZED', 'A bearer token is needed');
      // Equal in length and in time, whatever was brought.
      return timingSafeEqual(digest(brought.trim()), expected) ? null : refusal(403, 'FORBIDDEN', 'The token is wrong');
    };
  }
  if (authorize !== undefined) {
    return async (c) =>
      (await authorize(c)) === true ? null : refusal(403, 'FORBIDDEN', 'This app refuses the request');
  }
  return async (c) => {
    const role = c.get('config')?.role;
    if (role === 'admin') return null;
    if (role !== undefined) return refusal(403, 'FORBIDDEN', "The admin's token of this StarbaseDB is needed");
    const how = 'give register(app, { token }) or register(app, { authorize })';
    return refusal(403, 'FORBIDDEN', `Nobody has said who may use these routes: ${how}`);
  };
}

module.exports = { accessOf };
