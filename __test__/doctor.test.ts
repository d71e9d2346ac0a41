import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine } from './support/cli.js';
import { onEveryServer } from './support/world.js';

onEveryServer((world) => {
  const { place, cli, cliWith, json } = commandLine(world);
  const inFolder = (name: string) => join(world.folder.path, name);

  /** Runs doctor; what it prints stands on stdout alone, and each thing once. */
  function doctor(...flags: string[]) {
    const { status, stdout, stderr } = cli('doctor', ...flags);
    expect(stderr).toBe('');
    const lines = stdout.trimEnd().split('\n');
    expect(new Set(lines).size).toBe(lines.length);
    return { status, stdout };
  }

  async function large() {
    await world.query(
      'CREATE TABLE large (id int PRIMARY KEY, updated_at timestamptz); INSERT INTO large SELECT i, now() FROM generate_series(1, 150000) i; ANALYZE large',
    );
  }

  test('what is well, and what could be better', async () => {
    await world.items(10);
    await large();
    await world.query('CREATE TABLE old (id int PRIMARY KEY, created_at timestamptz)');
    place();
    const { status, stdout } = doctor();
    expect(status).toBe(0);
    for (const part of [
      /ok +target +.*starbasedb\.sqlite isn't there yet/,
      /ok +configuration +The source is postgresql at .* \(from .*wrangler\.toml\)/,
      /ok +connection/,
      /ok +clock/,
      /ok +table +items: incremental, tracked by updated_at, key id\n/,
      /warn +index +Table large needs an index\n +→ Run at the source: CREATE INDEX/,
      /warn +hint +Table old has only created_at to track/,
    ]) {
      expect(stdout).toMatch(part);
    }
    for (const flags of [['-q'], ['--log-level', 'silent']]) {
      const { checks } = json('doctor', ...flags).last.result;
      expect(checks).toContainEqual(expect.objectContaining({ name: 'index', level: 'warn' }));
    }
    // Who asks for the log gets it.
    expect(cli('doctor', '--log-level', 'warn').stderr).toContain(
      'Data Sync Plugin: Table large needs an index: CREATE',
    );
    expect(cli('sync', '-q').status).toBe(0);
    expect(doctor().stdout).toMatch(/ok +target +3 tables were synced into .*starbasedb\.sqlite\n/);
  });

  test('where each variable comes from', async () => {
    await world.items(1);
    place();
    const { stdout } = cliWith({ EXTERNAL_DB_SSL: 'prefer', EXTERNAL_DB_MONGODB_URI: 'unused' }, 'doctor');
    const names = (stdout.match(/variables .*/g) ?? []).map((line) => line.replace(/^variables +/, ''));
    expect(names.sort()).toEqual([
      expect.stringMatching(
        /^EXTERNAL_DB_DATABASE, EXTERNAL_DB_HOST, EXTERNAL_DB_PORT, EXTERNAL_DB_TYPE, EXTERNAL_DB_USER from .*wrangler\.toml \[vars\]$/,
      ),
      'EXTERNAL_DB_PASS from .dev.vars',
      'EXTERNAL_DB_SSL from environment',
    ]);
  });

  test('every table is told of, the good and the bad', async () => {
    await world.items(10);
    place();
    const file = inFolder('options.json');
    const bad = { name: 'items', as: 'bad', where: 'no_such_column = 1' };
    await world.items(10, 'last');
    const keyless = { name: 'last', primary_key: ['nowhere'] };
    writeFileSync(file, JSON.stringify({ tables: [bad, 'gone', keyless] }));
    expect(doctor('-o', file).status).toBe(3);
    await world.items(10, 'more');
    writeFileSync(file, JSON.stringify({ tables: [bad, 'gone', keyless, 'more'] }));
    const { status, stdout } = doctor('-o', file);
    expect(status).toBe(3);
    for (const part of [
      /ok +connection/,
      /ok +table +more: incremental/,
      /fail +table +bad: SOURCE_READ: .*no_such_column/,
      /fail +table +gone: TABLE_NOT_FOUND: Table 'gone' not found.*\n +→ Check the name/,
      /fail +table +last: SCHEMA: .*'nowhere'/,
    ]) {
      expect(stdout).toMatch(part);
    }
    // A failure that goes on is not told a second time as that of the last run.
    expect(cli('sync', '-q', '-o', file).status).toBe(1);
    expect(doctor('-o', file).stdout).not.toContain('last run');
    writeFileSync(file, '{ "tables": ["more"] }');
    expect(doctor('-o', file).status).toBe(0);
  });

  test('a source that can not be reached, or used', async () => {
    await world.items(10);
    place({ PORT: 1 });
    const away = doctor();
    expect(away.status).toBe(3);
    expect(away.stdout).toMatch(/ok +configuration +The source is postgresql at .*:1,/);
    expect(away.stdout).toMatch(/ok +variables +.*EXTERNAL_DB_PORT/);
    expect(away.stdout).toMatch(/fail +connection +CONNECT: .+\n +→ Is/);
    expect(away.stdout).not.toMatch(/ok +connection/);
    place({ USER: 'nobody_at_all' });
    expect(doctor()).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(/fail +connection +AUTH: .+\n +→ Check/),
    });
    place({ HOST: '', USER: '' });
    expect(doctor().stdout).toMatch(/fail +configuration +CONFIG: .*EXTERNAL_DB_HOST.*EXTERNAL_DB_USER/);
    place();
    expect(doctor('--tables', 'nowhere').stdout).toMatch(/fail +table +nowhere: TABLE_NOT_FOUND/);
    const file = inFolder('options.json');
    writeFileSync(file, '{ "enabled": false }');
    expect(doctor('-o', file).stdout).toMatch(/fail +configuration +SYNC_DISABLED: .+\n +→ Set enabled/);
  });

  test('a target that can not be used says nothing against the source', async () => {
    await world.items(10);
    place();
    const checks = (...flags: string[]) => {
      const { status, stdout } = doctor(...flags);
      expect(status).toBe(3);
      expect(stdout).toMatch(/ok +connection/);
      expect(stdout.match(/^fail/gm)).toHaveLength(1);
      return stdout;
    };
    const nowhere = inFolder('nowhere');
    expect(checks('-d', join(nowhere, 'x.sqlite'))).toMatch(
      /fail +target +The folder .*nowhere isn't there\n +→ Make it, or name another file with --database/,
    );
    expect(checks('-d', 'auto')).toMatch(/fail +target +CONFIG: .*found no StarbaseDB/);
    expect(checks('-d', world.folder.path)).toMatch(/fail +target +TARGET_WRITE: .*it is a directory: name a file/);
    const text = inFolder('notes.txt');
    writeFileSync(text, 'no database '.repeat(200));
    const foreign = checks('-d', text);
    expect(foreign).toMatch(
      /file is not a database, but another kind of file, or encrypted: name a SQLite file with database, or/,
    );
    expect(foreign).not.toContain('right to write');
    expect(cli('status', '-d', text).stderr).toContain('move this one away');
    const url = { DATA_SYNC_TARGET_TOKEN: 'a-token' };
    const deployed = cliWith(url, 'doctor', '--target-url', 'http://127.0.0.1:1');
    expect(deployed.status).toBe(3);
    expect(deployed.stdout).toMatch(/fail +target +CONNECT/);
    expect(deployed.stdout).toMatch(/ok +connection/);
    expect(deployed.stdout.match(/^fail/gm)).toHaveLength(1);
    // The file that was made for one source is not for another.
    expect(cli('sync', '-q').status).toBe(0);
    const other = { HOST: world.database.source.host === 'localhost' ? '127.0.0.1' : 'localhost' };
    place(other);
    expect(checks()).toMatch(/fail +target +SOURCE_CHANGED: .+\n +→ Name another target/);
  });
});
