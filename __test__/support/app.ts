import type { AddressInfo, Server } from 'node:net';
import type { RequestContext } from '../../index.js';

/** What of a Hono app the tests use. Hono's own types want those of a browser, which nothing here is checked with. */
interface Context {
  req: RequestContext['req'] & { json(): Promise<unknown> };
  set(name: string, value: unknown): void;
}

interface Hono {
  fetch: unknown;
  use(path: string, handler: (c: Context, next: () => Promise<void>) => unknown): void;
}

const { Hono } = require('hono') as { Hono: new () => Hono };
const { serve } = require('@hono/node-server') as {
  serve(options: object, listening: (address: AddressInfo) => void): Server & { closeAllConnections(): void };
};

/** A Hono app on a port of its own. */
export class App {
  readonly app = new Hono();
  #server?: ReturnType<typeof serve>;

  async listen(): Promise<string> {
    return new Promise((resolve) => {
      const options = { fetch: this.app.fetch, hostname: '127.0.0.1', port: 0 };
      this.#server = serve(options, ({ port }) => resolve(`http://127.0.0.1:${port}`));
    });
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
