'use strict';

/** What the process ends with. */
const EXIT = {
  ok: 0,
  /** A run, a comparison or another call failed. */
  failed: 1,
  /** The command line or the configuration can't be used. */
  usage: 2,
  /** `verify` found differences, or `doctor` something that will fail. */
  found: 3,
  /** The user ended it, as a shell tells that of SIGINT. */
  interrupted: 130,
};

const CODES = [
  [EXIT.ok, 'all went well'],
  [EXIT.failed, 'the call failed; the message says why'],
  [EXIT.usage, 'the command line or the configuration can not be used'],
  [EXIT.found, 'verify found differences, or doctor something that will fail'],
  [EXIT.interrupted, 'interrupted'],
];

/** The exit code that an error stands for. */
function exitOf(error) {
  if (error.code === 'ABORTED') return EXIT.interrupted;
  return error.code === 'CONFIG' || error.code === 'TYPE_MAP' ? EXIT.usage : EXIT.failed;
}

module.exports = { CODES, EXIT, exitOf };
