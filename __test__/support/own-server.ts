import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { ServerKind } from '../../scripts/servers.mjs' with { 'resolution-mode': 'import' };
import { root } from '../support/child.js';

/** In a process of its own, because Jest loads no modules of this form. */
const SCRIPT = `
  import { startServers } from './scripts/servers.mjs';
  const { servers: [server], stop } = await startServers({ only: [process.argv[1]], all: false });
  const asked = () => new Promise((resolve) => process.once('message', resolve));
  process.once('disconnect', stop);
  process.send({ url: server.url, data: server.data });
  for (;;) {
    await asked();
    await server.restart(() => {
      process.send('gone');
      return asked();
    });
    process.send('ready');
  }`;

/** A server of a test's own, which it may kill. */
export interface OwnServer {
  url: string;
  /** The folder of its data. */
  data: string;
  /** Kills it as a crash does, and starts it again at the same address; `meanwhile` runs while nobody has the data open. */
  restart(meanwhile?: () => void): Promise<void>;
  stop(): Promise<void>;
}

export async function ownServer(kind: ServerKind): Promise<OwnServer> {
  const args = ['--input-type=module', '-e', SCRIPT, kind];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const answer = async <Told>(): Promise<Told> => {
    const failed = ended.then(() => Promise.reject(new Error(`The server's process ended: ${kind}`)));
    return (await Promise.race([once(child, 'message'), failed]))[0];
  };
  return {
    ...(await answer<{ url: string; data: string }>()),
    async restart(meanwhile) {
      child.send('kill');
      await answer();
      meanwhile?.();
      child.send('start');
      await answer();
    },
    async stop() {
      child.disconnect();
      await ended;
    },
  };
}
