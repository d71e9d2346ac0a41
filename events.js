'use strict';

/** The names of all events of a plugin. */
const EVENTS = [
  'syncStart',
  'tableStart',
  'progress',
  'tableComplete',
  'schemaChange',
  'log',
  'syncComplete',
  'syncError',
];

module.exports = { EVENTS };
