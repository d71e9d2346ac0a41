#!/usr/bin/env node
'use strict';

const { run } = require('./cli/program.js');

// Who reads only the first lines (`| head`) closes the pipe before all is written.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}

run(process.argv).then((code) => {
  process.exitCode = code;
});
