/**
 * Makes what is published: `node scripts/pack.mjs [--addons FOLDER] [--to FOLDER]` packs the package and one further package for each platform whose
 * addon is in FOLDER, by default the checkout, as tarballs in `dist`.
 *
 * The package names those of all platforms as optional dependencies, of which npm installs the one that fits.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { ensurePackages, entry, packaged, root, run, Stop } from './workspace.mjs';

/** What only a checkout has a use for. */
const OF_CHECKOUT = ['scripts', 'devDependencies', 'allowScripts', 'napi'];
/** What npm adds by itself. */
const ALWAYS = ['README.md', 'LICENSE'];

/** Packs what there is, and gives the paths of the tarballs: first the package, then those of the platforms. */
export async function pack({ addons = root, to = join(root, 'dist') } = {}) {
  await ensurePackages();
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const work = mkdtempSync(join(tmpdir(), 'data-sync-pack-'));
  try {
    mkdirSync(to, { recursive: true });
    const cli = packaged('@napi-rs/cli', 'dist/cli.js');
    // It takes no folder outside that of a package.
    const description = join(work, 'package.json');
    copyFileSync(join(root, 'package.json'), description);
    await run(process.execPath, [cli, 'create-npm-dirs', '--cwd', work, '--npm-dir', '.']);
    const { binaryName, targets } = manifest.napi;
    const platforms = targets.map(platformOf);
    const there = platforms.filter((platform) => existsSync(join(addons, `${binaryName}.${platform}.node`)));
    if (there.length === 0) throw new Stop(`There is no addon in ${addons}; build one with npm run build`);
    for (const platform of there) {
      const file = `${binaryName}.${platform}.node`;
      copyFileSync(join(addons, file), join(work, platform, file));
      copyFileSync(join(root, 'LICENSE'), join(work, platform, 'LICENSE'));
    }
    const optional = platforms.map((platform) => [`${manifest.name}-${platform}`, manifest.version]);
    const main = join(work, 'main');
    for (const name of [...manifest.files, ...ALWAYS]) {
      mkdirSync(dirname(join(main, name)), { recursive: true });
      cpSync(join(root, name), join(main, name), { recursive: true });
    }
    const published = Object.fromEntries(Object.entries(manifest).filter(([name]) => !OF_CHECKOUT.includes(name)));
    const text = { ...published, optionalDependencies: Object.fromEntries(optional) };
    writeFileSync(join(main, 'package.json'), `${JSON.stringify(text, null, 2)}\n`);
    return [main, ...there.map((platform) => join(work, platform))].map((folder) => tarball(folder, to));
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** What napi calls the platform of a Rust target. */
function platformOf(triple) {
  const [cpu, , system, abi] = triple.split('-');
  const names = { x86_64: 'x64', aarch64: 'arm64', windows: 'win32' };
  return [names[system] ?? system, names[cpu], abi].filter(Boolean).join('-');
}

function tarball(folder, to) {
  const npm = ['pack', folder, '--pack-destination', to, '--json', '--ignore-scripts'];
  const { status, stdout, stderr } = spawnSync('npm', npm, { encoding: 'utf8', shell: process.platform === 'win32' });
  if (status !== 0) throw new Stop(`npm ${npm.join(' ')}: ${stderr}`);
  const [{ filename, size, unpackedSize }] = [JSON.parse(stdout)].flatMap((told) => Object.values(told));
  process.stdout.write(`${basename(filename)}: ${inMegabytes(size)}, unpacked ${inMegabytes(unpackedSize)}\n`);
  return join(to, basename(filename));
}

const inMegabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  entry(async () => {
    const { values } = parseArgs({ options: { addons: { type: 'string' }, to: { type: 'string' } } });
    await pack({ addons: values.addons && resolve(values.addons), to: values.to && resolve(values.to) });
  });
}
