#!/usr/bin/env node
'use strict';

const { run } = require('./cli/program.js');

// Who reads only the first lines (`| head`) closes the pipe before all is written. That ends the output, not the work:
// a run that stopped here would have brought nothing, and told nobody.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

run(process.argv).then((code) => {
  process.exitCode = code;
});
