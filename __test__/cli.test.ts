import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CLI, commandLine, environment } from './support/cli.js';
import { onEveryServer, until } from './support/world.js';

onEveryServer((world) => {
  const { place, cli, json } = commandLine(world);
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

  test('plan shows what can be planned, and what a run would fail of', async () => {
    await world.items(10);
    place();
    const file = join(world.folder.path, 'options.json');
    // The failed statement ends the transaction in which the others are planned.
    const bad = { name: 'items', as: 'bad', where: 'no_such_column = 1' };
    writeFileSync(file, JSON.stringify({ tables: [bad, 'gone'] }));
    const nothing = cli('plan', '-o', file);
    expect(nothing).toMatchObject({ status: 1, stdout: '' });
    expect(nothing.stderr).toMatch(/^SOURCE_READ: .*'bad'[\s\S]*^TABLE_NOT_FOUND: Table 'gone' not found/m);
    await world.items(10, 'more');
    writeFileSync(file, JSON.stringify({ tables: [bad, 'gone', 'more'] }));
    const found = cli('plan', '-o', file);
    expect(found.status).toBe(1);
    expect(found.stdout).toMatch(/more +incremental/);
    expect(found.stdout).not.toMatch(/bad|gone/);
    expect(found.stderr).toMatch(/^SOURCE_READ: .*'bad'.*no_such_column/m);
    expect(found.stderr).toMatch(/^TABLE_NOT_FOUND: Table 'gone' not found/m);
    const { status, lines } = json('plan', '-o', file);
    expect(status).toBe(1);
    expect(lines).toMatchObject([
      { type: 'result', command: 'plan', result: { tables: { more: { mode: 'incremental' } } } },
      { type: 'error', error: { code: 'SOURCE_READ', table: 'bad' } },
      { type: 'error', error: { code: 'TABLE_NOT_FOUND', table: 'gone' } },
    ]);
  });

  test('status of a file that is not there yet, and of one that can not be made', async () => {
    await world.items(1);
    place();
    const none = cli('status');
    expect(none).toMatchObject({ status: 0, stderr: '' });
    expect(none.stdout).toContain("starbasedb.sqlite isn't there yet: the first run makes it.");
    expect(json('status').last).toMatchObject({ result: { lastSyncTime: null, tableMap: {} } });
    const nowhere = join(world.folder.path, 'nowhere', 'x.sqlite');
    for (const args of [['status'], ['plan'], ['sync'], ['reset', '--yes']]) {
      const { status, stderr } = cli(...args, '-d', nowhere);
      expect({ args, status }).toEqual({ args, status: 1 });
      expect(stderr).toMatch(
        /TARGET_WRITE: Failed to open target database '.*x\.sqlite': the directory .*nowhere can't/,
      );
    }
    writeFileSync(path(), '');
    expect(cli('status').stdout).toMatch(/^Nothing was synced into .*starbasedb\.sqlite yet\.$/m);
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

  /** The CLI on a terminal, which `script` of util-linux gives it. */
  function terminal(command: string) {
    const child = spawn('script', ['-qec', `"${process.execPath}" "${CLI}" ${command}`, '/dev/null'], {
      cwd: world.folder.path,
      env: environment,
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    return { child, said: () => said, exit: once(child, 'close').then(([code]) => code) };
  }

  const onTerminal = process.platform === 'linux' ? test : test.skip;

  onTerminal('what has nothing to do, or is answered with no, says so', async () => {
    place();
    const file = join(world.folder.path, 'options.json');
    writeFileSync(file, '{ "enabled": false }');
    expect(cli('watch', '-o', file)).toMatchObject({ status: 2, stderr: expect.stringContaining("'enabled'") });
    // The terminal makes Ctrl-D and Ctrl-C of the last two.
    for (const answer of ['n\r', '\u0004', '\u0003']) {
      const asked = terminal('reset');
      await until(() => asked.said().includes('[y/N]'));
      asked.child.stdin.write(answer);
      expect(await asked.exit).toBe(130);
      expect(asked.said()).toContain('Nothing was reset.');
    }
    // No terminal to ask on, but one to answer by: no version of Node.js settles the question then.
    const unseen = terminal('reset 2>asked');
    const asked = join(world.folder.path, 'asked');
    await until(() => existsSync(asked) && readFileSync(asked, 'utf8').includes('[y/N]'));
    unseen.child.stdin.write('\u0004');
    expect(await unseen.exit).toBe(130);
    expect(readFileSync(asked, 'utf8')).toContain('Nothing was reset.');
  });

  onTerminal('the log level of a file counts, and its lines take the place of the bars', async () => {
    await world.items(2000);
    place();
    const file = join(world.folder.path, 'options.json');
    const run = async (level: string | undefined, command: string) => {
      writeFileSync(file, JSON.stringify({ log_level: level, batch_size: 100 }));
      const { exit, said } = terminal(`${command} -o options.json`);
      return { code: await exit, said: said() };
    };
    for (const command of ['status', 'doctor']) {
      expect(await run('loud', command)).toEqual({ code: 2, said: expect.stringContaining("'log_level'") });
    }
    const logged = await run('info', 'sync');
    expect(logged).toEqual({ code: 0, said: expect.stringContaining('Synced 2000 records for table items') });
    expect(logged.said).not.toMatch(/[█░]/);
    await world.query('DELETE FROM items WHERE id > 100');
    const quiet = await run(undefined, 'sync');
    expect(quiet).toEqual({ code: 0, said: expect.not.stringContaining('Synced') });
  });
});
