/** What the README and `index.d.ts` name is what the code knows: no more, no less. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { DataSyncPlugin, type SourceOptions } from '../index.js';

const text = (name: string) => readFileSync(join(__dirname, '..', name), 'utf8');
const readme = text('README.md');

/** The README's lines, those of code blocks emptied of what looks like a heading. */
function proseLines(): string[] {
  let inCode = false;
  return readme.split('\n').map((line) => {
    if (line.startsWith('```')) inCode = !inCode;
    return inCode ? line.replace(/^#+ /, '') : line;
  });
}

/** The README below the heading `title`, up to the next heading of the same or a higher rank. */
function section(title: string): string {
  const lines = proseLines();
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === title);
  if (start < 0) throw new Error(`README.md has no section '${title}'`);
  const rank = (lines[start] as string).indexOf(' ');
  const length = lines.slice(start + 1).findIndex((line) => /^#+ /.test(line) && line.indexOf(' ') <= rank);
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join('\n');
}

/** The rows of the first table in a section: the names in its first column, and all of its cells. */
function rows(title: string): { names: string[]; cells: string[] }[] {
  const lines = section(title).split('\n');
  const start = lines.findIndex((line) => line.startsWith('|'));
  const length = lines.slice(start).findIndex((line) => !line.startsWith('|'));
  const table = lines.slice(start, length < 0 ? undefined : start + length).slice(2);
  return table.map((line) => {
    const cells = line.split(/(?<!\\)\|/).slice(1, -1);
    return { names: [...(cells[0] as string).matchAll(/`([^`]+)`/g)].map(([, name]) => name as string), cells };
  });
}

const documented = (title: string) =>
  rows(title)
    .flatMap(({ names }) => names)
    .sort();

const face = ts.createSourceFile('index.d.ts', text('index.d.ts'), ts.ScriptTarget.Latest);

/** The names of the members of an interface in `index.d.ts`. */
function members(name: string): string[] {
  const found = face.statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === name);
  if (!found) throw new Error(`index.d.ts has no interface ${name}`);
  return (found as ts.InterfaceDeclaration).members.map((member) => (member.name as ts.Identifier).text).sort();
}

/** The words of a union of strings in `index.d.ts`. */
function words(name: string): string[] {
  const found = face.statements.find((each) => ts.isTypeAliasDeclaration(each) && each.name.text === name);
  const type = (found as ts.TypeAliasDeclaration | undefined)?.type;
  if (!type || !ts.isUnionTypeNode(type)) throw new Error(`index.d.ts has no union ${name}`);
  return type.types.map((each) => ((each as ts.LiteralTypeNode).literal as ts.StringLiteral).text).sort();
}

/** What the constructor accepts where it refuses `options`, in its own words. */
function accepted(options: object): string[] {
  try {
    new DataSyncPlugin(options);
  } catch (error) {
    const list = /accepted[^:]*: (.+)$/.exec((error as Error).message)?.[1];
    if (list) return list.split(', ').sort();
    throw error;
  }
  throw new Error(`${JSON.stringify(options)} was accepted`);
}

/** Every text that `pattern` captures in a source file. */
function captured(file: string, pattern: RegExp): string[] {
  return [...new Set([...text(file).matchAll(pattern)].map(([, name]) => name as string))].sort();
}

test('options', () => {
  const names = accepted({ nonsense: 1 });
  expect(members('DataSyncOptions')).toEqual(names);
  expect(documented('Options')).toEqual(names);
});

test('options of tables', () => {
  const names = accepted({ tables: [{ name: 'users', nonsense: 1 }] });
  expect(members('TableOptions')).toEqual(names);
  expect(documented('Table options')).toEqual(names);
});

test('options of a PostgreSQL source', () => {
  const names = accepted({ source: { type: 'postgresql', nonsense: 1 } });
  expect([...new Set(['type', ...members('ServerParts'), ...members('ServerUrl')])].sort()).toEqual(names);
  expect(documented('Source options')).toEqual(names);
});

test.each([
  ['mongodb', 'MongodbSource'],
  ['turso', 'TursoSource'],
  ['starbasedb', 'StarbasedbSource'],
  ['d1', 'D1Source'],
  ['sqlite', 'SqliteSource'],
])('options of a %s source', (type, name) => {
  const names = accepted({ source: { type, nonsense: 1 } });
  expect(members(name)).toEqual(names);
  const table = rows('The other sources').filter(({ cells }) => cells[1]?.includes(`'${type}'`));
  expect(['type', ...table.flatMap(({ names }) => names)].sort()).toEqual(names);
  // All that is missing is told at once.
  const required = table.flatMap(({ names, cells }) => (cells[3]?.trim() === 'required' ? names : []));
  expect(() => new DataSyncPlugin({ source: { type } as SourceOptions })).toThrow(`lacks ${required.join(', ')};`);
});

test('options of retries', () => {
  const names = accepted({ retry: { nonsense: 1 } });
  expect(members('RetryOptions')).toEqual(names);
  const row = rows('Options').find(({ names: [name] }) => name === 'retry');
  for (const name of names) expect(row?.cells[1]).toContain(`${name}?`);
});

test('required options', () => {
  const required = (title: string) =>
    rows(title).flatMap(({ names, cells }) => ((cells[2] as string).trim() === 'required' ? names : []));
  const lacking = (options: object) => {
    try {
      new DataSyncPlugin(options);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  expect(required('Table options')).toEqual(['name']);
  expect(lacking({ tables: [{}] })).toContain('lacks name');
  const names = required('Source options');
  const whole = { type: 'postgresql', host: 'localhost', user: 'reader', password: '', database: 'app' };
  expect(names.sort()).toEqual(Object.keys(whole).sort());
  for (const name of names) expect(lacking({ source: { ...whole, [name]: undefined } })).toContain(`lacks ${name}`);
});

test('events', () => {
  const names = captured('src/node/message.rs', /\(\s*"([a-z]+[A-Z]\w+|progress|log)",\s*(?:json!|payload)/g);
  expect(names).toHaveLength(captured('src/node/message.rs', /Event::(\w+)(?: \{[^}]*\}|\(\w+\)) =>/g).length);
  expect(members('SyncEvents')).toEqual(names);
  expect(documented('Events')).toEqual(names);
});

test('error codes', () => {
  const codes = captured('src/error.rs', /Self::\w+ => "([A-Z_]+)"/g);
  expect(codes).toHaveLength(16);
  expect(words('DataSyncErrorCode')).toEqual(codes);
  expect(documented('Errors')).toEqual(codes);
});

test('error codes that end a run', () => {
  const [, kinds] = /ends_run.*?matches!\(\s*self,\s*([^)]+)\)/s.exec(text('src/error.rs')) ?? [];
  const ending = [...(kinds as string).matchAll(/Self::(\w+)/g)].map(([, kind]) =>
    (kind as string).replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
  );
  const marked = rows('Errors').flatMap(({ names, cells }) => ((cells[1] as string).includes('●') ? names : []));
  expect(marked.sort()).toEqual(ending.sort());
});

test('variables', () => {
  const names = captured('src/config/environment.rs', /^const \w+: &str = "([A-Z_]+[A-Z0-9])";$/gm);
  expect([...new Set(section('Variables').match(/\b(?:EXTERNAL_DB|STARBASEDB)_[A-Z0-9_]+/g))].sort()).toEqual(names);
});

test('columns of the state', () => {
  const create = /TABLE IF NOT EXISTS main\.tmp_data_sync_state \(([^;]+)\);/.exec(
    text('src/target/state.rs'),
  )?.[1] as string;
  const columns = [...create.matchAll(/(\w+) (?:TEXT|INTEGER)/g)].map(([, name]) => name).sort();
  expect(documented('The state, and how to read it at three in the morning')).toEqual(columns);
});

/** What `--help` of a command, or of none, prints. */
function help(...command: string[]): string {
  const { stdout } = spawnSync(process.execPath, [join(__dirname, '..', 'cli.js'), ...command, '--help'], {
    encoding: 'utf8',
  });
  return stdout;
}

/** The names at the beginning of the lines of a help's lists. */
const listed = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name as string);

const COMMANDS = listed(help(), /^ {2}([a-z]+) \[/gm).filter((name) => name !== 'help');

test('commands', () => {
  expect(COMMANDS).toHaveLength(7);
  const named = listed(section('Command line'), /^npx @starbasedb\/plugin-data-sync (\w+)/gm);
  expect(named.sort()).toEqual([...COMMANDS].sort());
});

test('flags of the command line', () => {
  const flags = (text: string) => listed(text, /^ {2}((?:-\w, )?--[a-z-]+(?: <[a-z]+>)?)(?: {2}|$)/gm);
  const taken = [...COMMANDS.map((name) => [name, help(name)]), ['none', help()]].flatMap(([command, text]) =>
    flags(text as string).map((flag) => `${flag} with ${command}`),
  );
  const told = rows('Flags').flatMap(({ names: [flag], cells: [, commands = ''] }) => {
    const named = [...commands.matchAll(/`(\w+)`/g)].map(([, name]) => name as string);
    const every = commands.includes('every command') ? COMMANDS : [];
    return [...named, ...every, ...(commands.includes('none') ? ['none'] : [])].map((name) => `${flag} with ${name}`);
  });
  expect(told.sort()).toEqual(taken.sort());
  // What the text mentions is there, too.
  const known = taken.map((each) => /--[a-z-]+/.exec(each)?.[0]);
  for (const flag of section('Command line').match(/--[a-z-]+(?=[ `])/g) ?? []) expect(known).toContain(flag);
});

test('exit codes', () => {
  const told = rows('Exit codes').map(({ cells }) => Number(cells[0]));
  expect(told).toEqual(listed(help(), /^ {2}(\d+) /gm).map(Number));
});

test('links lead somewhere', () => {
  const headings = [
    ...proseLines()
      .join('\n')
      .matchAll(/^#+ (.+)$/gm),
  ].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );
  for (const [, target] of readme.matchAll(/\]\(#([^)]+)\)/g)) expect(headings).toContain(target);
});
