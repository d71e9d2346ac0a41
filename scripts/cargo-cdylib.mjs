#!/usr/bin/env node
/**
 * Stands for cargo while napi builds a release: makes the addon's library of no other kind than `cdylib`.
 *
 * Cargo optimises nothing at link time while a library is to be an `rlib` as well, which bench/hot-paths and fuzz need.
 */

import { spawnSync } from 'node:child_process';

const [command, ...options] = process.argv.slice(2);
const only = ['--lib', '--crate-type', 'cdylib'];
const [program, args] =
  command === 'build'
    ? ['cargo', ['rustc', ...options, ...only]]
    : command === 'zigbuild'
      ? ['cargo-zigbuild', ['rustc', ...options, ...only]]
      : ['cargo', [command, ...options]];
const { status, error } = spawnSync(program, args, { stdio: 'inherit' });
if (error) process.stderr.write(`${program} can't be run: ${error.message}\n`);
process.exit(status ?? 1);
