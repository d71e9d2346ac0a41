'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/target/', '<rootDir>/bench/.work/', '<rootDir>/.servers/'],
  // TypeScript's way of naming a module by the file it would become.
  moduleNameMapper: { '^(.*/support/[^/]+)\\.js$': '$1' },
  transform: {
    '\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  globalSetup: '<rootDir>/__test__/support/servers-up.mjs',
  globalTeardown: '<rootDir>/__test__/support/servers-down.mjs',
  testTimeout: 60_000,
};
