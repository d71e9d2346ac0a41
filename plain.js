'use strict';

/** How a message names what it got: by its kind, because a value may be a secret. */
function kindOf(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') {
    const name = Object.getPrototypeOf(value)?.constructor?.name;
    return name && name !== 'Object' ? `an instance of ${name}` : 'an object';
  }
  if (typeof value === 'undefined') return 'undefined';
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  return `a ${typeof value}`;
}

/** A `TypeError` or `RangeError` with a code, whose stack begins where the user called `entry`. */
function invalid(Class, message, entry, code = 'CONFIG') {
  const error = new Class(message);
  error.code = code;
  Error.captureStackTrace(error, entry);
  return error;
}

const isPlain = (value) => {
  const prototype = Object.getPrototypeOf(value);
  // An object of another realm (a `vm` context, a test runner) has another Object.prototype, but still a root one.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
};

/**
 * Copies `value` into plain JSON data: a member that is `undefined` is absent, and whatever JSON would drop or change in
 * silence is an error that names its path.
 */
function plain(value, path, entry, ancestors = new Set()) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      throw invalid(RangeError, `Option '${path}' is ${value}; it takes a finite number`, entry);
    case 'object':
      break;
    default:
      throw invalid(TypeError, `Option '${path}' is ${kindOf(value)}; options are plain data`, entry);
  }
  if (value === null) return null;
  if (ancestors.has(value)) {
    throw invalid(TypeError, `Option '${path}' refers back to an object that holds it; options are plain data`, entry);
  }
  ancestors.add(value);
  let copy;
  if (Array.isArray(value)) {
    copy = Array.from(value, (item, index) => plain(item, `${path}[${index}]`, entry, ancestors));
  } else if (isPlain(value)) {
    // Without a prototype, so that a member named `__proto__` stays a member and is refused by name.
    copy = Object.create(null);
    for (const [key, item] of Object.entries(value)) {
      if (item !== undefined) copy[key] = plain(item, path ? `${path}.${key}` : key, entry, ancestors);
    }
  } else {
    throw invalid(TypeError, `Option '${path}' is ${kindOf(value)}; it takes a plain object, or plain data`, entry);
  }
  ancestors.delete(value);
  return copy;
}

module.exports = { invalid, kindOf, plain };
