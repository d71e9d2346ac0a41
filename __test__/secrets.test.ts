/**
 * What a process writes while everything goes wrong, log lines, rejections that nobody handles and panics among it. What is
 * told within a process is tested for every source in src/tests/secrets.rs.
 */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DataSyncOptions } from '../index.js';
import { Child } from './support/child.js';
import { ReplicaFolder } from './support/replica.js';
import { onEveryServer } from './support/world.js';

/** The most that a Rust library or Node.js may be asked to say. */
const TALKATIVE = {
  RUST_LOG: 'trace',
  RUST_BACKTRACE: 'full',
  NODE_OPTIONS: '--stack-trace-limit=50 --trace-uncaught',
};

/** Runs each of the options once, tells all there is to tell, and leaves the last rejection to Node.js. */
async function said(options: DataSyncOptions[]): Promise<string> {
  const child = new Child(
    `const { inspect } = require('node:util');
     const all = ${JSON.stringify(options)};
     (async () => {
       for (const options of all) {
         const plugin = new DataSyncPlugin({ log_level: 'debug', retry: { attempts: 2, base_ms: 1 }, ...options });
         const events = ['log', 'syncStart', 'tableStart', 'progress', 'tableComplete', 'schemaChange', 'syncComplete'];
         for (const event of [...events, 'syncError']) plugin.on(event, (told) => console.log(event, inspect(told, { depth: 9 })));
         const run = plugin.triggerSync();
         if (options === all.at(-1)) return run;
         await run.catch((error) => console.log(inspect(error, { depth: 9, showHidden: true }), error.stack, JSON.stringify(error)));
         await plugin.getSyncStatus().then(console.log, console.log);
         console.log(inspect(plugin, { depth: 9, showHidden: true }));
         await plugin.stop();
       }
     })();`,
    { env: TALKATIVE },
  );
  const { code, stdout, stderr } = await child.ended;
  expect(code).toBe(1);
  return stdout + stderr;
}

/** A secret as it is, in a URL, and in base64. */
const spellings = (secret: string) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').slice(0, -4),
];

onEveryServer((world) => {
  test('a process whose runs fail in every way', async () => {
    await world.items(300);
    await world.query("UPDATE items SET name = 'row-secret ' || id");
    const { host, port, user, password, database } = world.database.source as unknown as Record<string, string>;
    const wrong = 'wr/ng:p@ss+word';
    const url = (secret: string, at = port) =>
      `postgresql://${user}:${encodeURIComponent(secret)}@${host}:${at}/${database}`;
    const source = (address: string): DataSyncOptions => ({ source: { type: 'postgresql', url: address } });
    const runs: DataSyncOptions[] = [
      source(url(wrong)),
      source(url(password as string, '1')),
      { ...source(url(password as string)), tables: ['items', 'nowhere'] },
      { ...source(url(password as string)), tables: [{ name: 'items', where: 'name::int > 0' }] },
      { ...source(url(password as string)), type_map: { text: 'INTEGER', timestamptz: 'INTEGER' } },
      { source: { type: 'turso', uri: 'http://127.0.0.1:1', token: wrong } },
      { source: { type: 'starbasedb', uri: 'http://127.0.0.1:1', token: wrong } },
      { source: { type: 'd1', url: 'http://127.0.0.1:1', api_key: wrong, account_id: 'a', database_id: 'd' } },
      { source: { type: 'mongodb', uri: `mongodb://user:${encodeURIComponent(wrong)}@127.0.0.1:1/app` } },
      { source: { type: 'mysql', url: `mysql://user:${encodeURIComponent(wrong)}@127.0.0.1:1/app` } },
      source(url(wrong)),
    ];
    const told = await said(runs.map((options) => ({ database: world.folder.fresh(), ...options })));
    expect(told).toContain('password authentication failed');
    expect(told).toContain('Synced 300 records for table items');
    const marks = [...spellings(password as string), ...spellings(wrong), `${user}:`, 'row-secret'];
    for (const mark of marks) expect(told.includes(mark) ? `${mark}: ${told}` : '').toBe('');
  });
});

describe('a panic', () => {
  let server: Server;
  const folder = new ReplicaFolder();
  beforeAll((done) => {
    // An error page in another encoding than UTF-8, before which libSQL's client panics with all bytes of the page.
    const page = Buffer.concat([Buffer.from('row-secret '), Buffer.from([0xe9, 0xff])]);
    server = createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(500).end(page));
    }).listen(0, '127.0.0.1', done);
  });
  afterAll((done) => {
    folder.remove();
    server.close(done);
  });

  test('says where it was, and nothing of what it was about', async () => {
    const uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const told = await said([{ database: folder.fresh(), source: { type: 'turso', uri, token: 'token-secret' } }]);
    expect(told).toMatch(/Data Sync Plugin: a panic at \S+\.rs:\d+/);
    for (const secret of ['row-secret', 'token-secret']) {
      expect(told).not.toContain(secret);
      // As Rust prints bytes.
      expect(told).not.toContain([...Buffer.from(secret)].join(', '));
    }
  });
});
