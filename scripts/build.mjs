/**
 * Builds the addon: `node scripts/build.mjs [--release] [--target TRIPLE] [more arguments of napi build]`.
 *
 * Without `--release` it takes the development profile and, as the Rust tests do, the folder of the host's triple, so
 * that every dependency is compiled once.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensurePackages, entry, hostTriple, packaged, root, run } from './workspace.mjs';

const GENERATED = ['native.js', 'native.d.ts'];

const read = (name) => {
  try {
    return readFileSync(join(root, name), 'utf8');
  } catch {
    return null;
  }
};

/** Builds, and tells which of the generated files changed by it. Cargo decides whether there is anything to do. */
export async function build(args = []) {
  const host = hostTriple();
  await ensurePackages();
  const before = GENERATED.map(read);
  const target = args.includes('--target') ? [] : ['--target', host];
  const cli = packaged('@napi-rs/cli', 'dist/cli.js');
  const outputs = ['--platform', '--js', 'native.js', '--dts', 'native.d.ts'];
  // Windows starts no script in a program's place.
  const alone = args.includes('--release') && process.platform !== 'win32';
  const env = alone ? { CARGO: join(root, 'scripts', 'cargo-cdylib.mjs') } : {};
  await run(process.execPath, [cli, 'build', ...outputs, ...target, ...args], { env });
  return GENERATED.filter((name, index) => read(name) !== before[index]);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  entry(async () => {
    await build(process.argv.slice(2));
  });
}
