/** A server that was started. */
export interface StartedServer {
  /** With the superuser and its password. */
  url: string;
  /** Its name and version. */
  version: string;
}

export interface StartedServers {
  servers: [StartedServer, ...StartedServer[]];
  /** The variables by which tests find the servers. */
  env: Record<string, string>;
  stop(): Promise<void>;
}

/** Starts PostgreSQL from npm and, unless `all` is false, every other one that is installed. */
export function startServers(options?: { all?: boolean }): Promise<StartedServers>;
