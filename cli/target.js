'use strict';

const { accessSync, constants, existsSync } = require('node:fs');
const { dirname } = require('node:path');

/** Where rows go by the plugin's options, as the addon tells it: `{ type, path }`, `{ type, url }`, or null. */
function targetOf(wishes) {
  const native = require('../native.js');
  return JSON.parse(native.targetOf(JSON.stringify(wishes)) ?? 'null');
}

/** What is said of a target into which nothing was synced. */
function emptyWords(target) {
  const { type, path, url } = target;
  if (type === 'sqlite' && !existsSync(path)) return `${path} isn't there yet: the first run makes it`;
  return `Nothing was synced into ${path ?? url} yet`;
}

/** What keeps a run from writing the file at `path`, and what to do: the folder that isn't there, or rights. */
function obstacles(path) {
  const folder = dirname(path);
  if (!existsSync(folder)) {
    return [{ message: `The folder ${folder} isn't there`, remedy: 'Make it, or name another file with --database.' }];
  }
  return [path, folder].flatMap((place) => {
    if (!existsSync(place)) return [];
    try {
      accessSync(place, constants.W_OK);
      return [];
    } catch (error) {
      const remedy = 'Give this user the right to write the file and its folder.';
      return [{ message: `${place} can't be written to (${error.code})`, remedy }];
    }
  });
}

module.exports = { emptyWords, obstacles, targetOf };
