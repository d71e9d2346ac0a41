import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './support/child.js';
import { onEveryServer, until } from './support/world.js';

const CLI = join(root, 'cli.js');

onEveryServer((world) => {
  /** Where a user stands: a folder with a wrangler file, and the password beside it. */
  function place(variables: Record<string, string | number> = {}) {
    const { host, port, user, password, database } = world.database.source;
    const all = { TYPE: 'postgresql', HOST: host, PORT: port, USER: user, DATABASE: database, ...variables };
    const lines = Object.entries(all).map(([name, value]) => `EXTERNAL_DB_${name} = ${JSON.stringify(value)}`);
    writeFileSync(join(world.folder.path, 'wrangler.toml'), `[vars]\n${lines.join('\n')}\n`);
    writeFileSync(join(world.folder.path, '.dev.vars'), `EXTERNAL_DB_PASS=${password}\n`);
  }
  const environment = { PATH: process.env.PATH, HOME: process.env.HOME };

  function cli(...args: string[]) {
    const done = spawnSync(process.execPath, [CLI, ...args], {
      cwd: world.folder.path,
      encoding: 'utf8',
      env: environment,
    });
    const { status, stdout, stderr } = done;
    expect(stdout + stderr).not.toContain(world.database.source.password);
    return { status, stdout, stderr };
  }
  /** The last line of `--json`; each line has to be JSON. */
  function json(...args: string[]) {
    const { status, stdout } = cli(...args, '--json');
    const lines = stdout.trimEnd().split('\n');
    return { status, lines: lines.map((line) => JSON.parse(line)), last: JSON.parse(lines.at(-1) as string) };
  }
  const path = () => join(world.folder.path, 'starbasedb.sqlite');

  test('from nothing to a replica, with what a user would type', async () => {
    await world.items(500);
    place();
    const plan = cli('plan');
    expect(plan.stdout).toMatch(/items +incremental +snapshot +updated_at +id/);
    expect(plan.stdout).toContain('CREATE TABLE "items"');
    const first = cli('sync', '--batch-size', '100');
    expect(first).toMatchObject({ status: 0 });
    expect(first.stdout).toMatch(/items +incremental +500 +500 +0 +0 +\d+ ms\n1 table in sync/);
    expect(first.stderr).toContain('Data Sync Plugin: Synced 500 records for table items');
    expect(cli('status').stdout).toMatch(/items +incremental +incremental +500 +2026-01-01T00:08:20.000000Z/);
    expect(cli('verify')).toMatchObject({ status: 0 });
    await world.query('DELETE FROM items WHERE id <= 7');
    const differs = cli('verify', 'items');
    expect(differs.status).toBe(3);
    expect(differs.stdout).toContain('items: extra id 1');
    expect(cli('verify', '--repair', '--deletes', 'hard')).toMatchObject({ status: 0 });
    expect(world.count('items', path())).toBe(493);
    expect(cli('reset', 'items')).toMatchObject({ status: 2, stderr: expect.stringContaining('--yes') });
    expect(cli('reset', 'items', '--yes')).toMatchObject({ status: 0 });
    expect(cli('sync', '--tables', 'items', '-q')).toMatchObject({ status: 0, stdout: '', stderr: '' });
    await world.expectSame('items', { path: path() });
  });

  test('--json: an object on each line, and nothing else', async () => {
    await world.items(50);
    place();
    const run = json('sync');
    expect(run).toMatchObject({ status: 0, last: { type: 'result', command: 'sync', result: { rowsInserted: 50 } } });
    expect(run.lines.map(({ event }) => event)).toEqual(expect.arrayContaining(['syncStart', 'tableComplete', 'log']));
    expect(json('sync', '--dry-run').last).toMatchObject({
      result: { dryRun: true, configuredBy: expect.any(String) },
    });
    expect(json('status').last).toMatchObject({ result: { tableMap: { items: { recordCount: 50 } } } });
    expect(json('verify').last).toMatchObject({ result: { tables: { items: { rows: 50 } } } });
    expect(json('doctor').last).toMatchObject({ result: { healthy: true } });
    expect(json('sync', '--tables', 'nowhere')).toMatchObject({
      status: 1,
      last: { type: 'error', error: { code: 'TABLE_NOT_FOUND' } },
    });
    expect(json('reset')).toMatchObject({ status: 2, last: { type: 'error' } });
  });

  test('watch goes on until it is interrupted', async () => {
    await world.items(10);
    place();
    const child = spawn(process.execPath, [CLI, 'watch', '--interval', '0.017', '--json'], {
      cwd: world.folder.path,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    await until(() => said.includes('"syncComplete"'));
    await world.query("INSERT INTO items VALUES (11, 'new', now())");
    await until(() => said.includes('"rowsInserted":1,'));
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
    await world.expectSame('items', { path: path() });
  });

  test('doctor says what is wrong, and what to do', async () => {
    await world.items(10);
    await world.query(
      'CREATE TABLE large (id int PRIMARY KEY, updated_at timestamptz); INSERT INTO large SELECT i, now() FROM generate_series(1, 150000) i; ANALYZE large',
    );
    place();
    const well = cli('doctor');
    expect(well.status).toBe(0);
    for (const part of [
      /ok +configuration .*wrangler.toml/,
      /ok +connection/,
      /ok +clock/,
      /ok +table +items: incremental/,
    ]) {
      expect(well.stdout).toMatch(part);
    }
    expect(well.stdout).toMatch(/warn +index +Table large needs an index\n +→ Run at the source: CREATE INDEX/);
    for (const flags of [['-q'], ['--log-level', 'silent']]) {
      const { checks } = json('doctor', ...flags).last.result;
      expect(checks).toContainEqual(expect.objectContaining({ name: 'index', level: 'warn' }));
    }
    place({ PORT: 1 });
    expect(cli('doctor')).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(/fail +connection +CONNECT: .+\n +→ Is/),
    });
    place({ USER: 'nobody_at_all' });
    expect(cli('doctor')).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(/fail +connection +AUTH: .+\n +→ Check/),
    });
    place({ HOST: '', USER: '' });
    const missing = cli('doctor').stdout;
    expect(missing).toMatch(/fail +configuration +CONFIG: .*EXTERNAL_DB_HOST.*EXTERNAL_DB_USER/);
    place();
    const both = cli('doctor', '--tables', 'nowhere,items,large');
    expect(both).toMatchObject({ status: 3, stderr: '' });
    for (const part of [/fail +table +TABLE_NOT_FOUND/, /ok +table +items: /, /ok +table +large: /, /warn +index/]) {
      expect(both.stdout).toMatch(part);
    }
    expect(cli('plan', '--tables', 'nowhere,items')).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/CREATE TABLE "items"[\s\S]*TABLE_NOT_FOUND: /),
    });
    const text = join(world.folder.path, 'notes.txt');
    writeFileSync(
      text,
      'no database, but more than a few words about one, so that it is not taken for an empty one'.repeat(20),
    );
    expect(cli('doctor', '--database', text).stdout).toMatch(
      /fail +target .*not a database.*\n +→ That file is none of SQLite/,
    );
    const nowhere = join(world.folder.path, 'nowhere', 'x.sqlite');
    expect(cli('status', '--database', nowhere)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('directory'),
    });
    expect(cli('status', '--database', join(world.folder.path, 'later.sqlite')).status).toBe(0);
    expect(cli('doctor', '--database', join(world.folder.path, 'nowhere', 'x.sqlite')).stdout).toMatch(/fail +target/);
    expect(cli('doctor', '--database', 'auto').stdout).toMatch(/fail +target +CONFIG: .*found no StarbaseDB/);
  });

  test('what was mistyped is told, with a proposal', () => {
    place();
    expect(cli('snyc')).toMatchObject({ status: 2, stderr: expect.stringContaining('Did you mean sync?') });
    expect(cli('sync', '--delets', 'hard')).toMatchObject({ status: 2, stderr: expect.stringContaining('--deletes?') });
    expect(cli('sync', '--deletes', 'all')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('none, hard, soft'),
    });
    expect(cli('sync', '--batch-size', 'many')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('takes a number'),
    });
    expect(cli('sync', '--batch-size', '0')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('batch_size'),
    });
    expect(cli('sync', '--target-url', 'https://x.example')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('DATA_SYNC_TARGET_TOKEN'),
    });
    const file = join(world.folder.path, 'options.json');
    writeFileSync(file, '{ "sync_intervall": 1 }');
    expect(cli('sync', '-o', file)).toMatchObject({ status: 2, stderr: expect.stringContaining("'sync_intervall'") });
    writeFileSync(file, '{ "secret');
    expect(cli('sync', '-o', file).stderr).toMatch(/is not JSON/);
    expect(cli('sync', '-o', file).stderr).not.toContain('secret');
    expect(cli('sync', '-o', 'nowhere.json').stderr).toMatch(/ENOENT/);
  });

  test('help names every command and every exit code; options of a file count', async () => {
    await world.items(10);
    place();
    const { status, stdout } = cli('--help');
    expect(status).toBe(0);
    for (const command of ['sync', 'watch', 'status', 'reset', 'verify', 'plan', 'doctor']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'));
      expect(cli(command, '--help').stdout).toContain('Exit codes:');
    }
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const [, section] = /^## Command line$([\s\S]+?)^## /m.exec(readme) as RegExpExecArray;
    const help = ['sync', 'watch', 'verify', 'reset'].map((command) => cli(command, '--help').stdout).join('');
    for (const [flag] of (section as string).matchAll(/--[a-z][a-z-]+/g)) {
      if (flag !== '--help') expect(help).toContain(flag);
    }
    const file = join(world.folder.path, 'options.json');
    writeFileSync(file, JSON.stringify({ tables: [{ name: 'items', where: 'id <= 3' }], database: 'other.sqlite' }));
    expect(cli('sync', '-o', file)).toMatchObject({ status: 0 });
    expect(world.count('items', join(world.folder.path, 'other.sqlite'))).toBe(3);
  });

  /** Starts the CLI and closes its stdout or stderr after what it says first; gives its exit code. */
  async function cut(stream: 'stdout' | 'stderr', ...args: string[]) {
    const child = spawn(process.execPath, [CLI, ...args], { cwd: world.folder.path, env: environment });
    child.stdout.resume();
    child.stderr.resume();
    child[stream].once('data', () => child[stream].destroy());
    const [code] = await once(child, 'exit');
    return code;
  }

  test('who reads only the first lines ends the output, not the run', async () => {
    await world.items(2000);
    place();
    expect(await cut('stdout', 'sync', '--json', '--batch-size', '10')).toBe(0);
    expect(world.count('items', path())).toBe(2000);
    expect(cli('reset', '--yes').status).toBe(0);
    await world.query('DROP TABLE items');
    await world.items(2100);
    expect(await cut('stderr', 'sync', '--batch-size', '10')).toBe(0);
    expect(world.count('items', path())).toBe(2100);
    expect(await cut('stdout', 'watch', '--interval', '0.017', '--json')).toBe(1);
  });

  // `script` of util-linux gives the CLI a terminal.
  const onTerminal = process.platform === 'linux' ? test : test.skip;

  onTerminal('what has nothing to do, or is answered with no, says so', async () => {
    place();
    const file = join(world.folder.path, 'options.json');
    writeFileSync(file, '{ "enabled": false }');
    expect(cli('watch', '-o', file)).toMatchObject({ status: 2, stderr: expect.stringContaining("'enabled'") });
    // The terminal makes Ctrl-D and Ctrl-C of the last two.
    for (const answer of ['n\r', '\u0004', '\u0003']) {
      const asked = spawn('script', ['-qec', `"${process.execPath}" "${CLI}" reset`, '/dev/null'], {
        cwd: world.folder.path,
        env: environment,
      });
      let said = '';
      asked.stdout.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
      await until(() => said.includes('[y/N]'));
      asked.stdin.write(answer);
      expect(await once(asked, 'close')).toEqual([130, null]);
      expect(said).toContain('Nothing was reset.');
    }
  });
});
