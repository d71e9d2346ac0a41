/** A kind of server, by the name that the plugin's `source.type` has for it. */
export type ServerKind = 'postgresql' | 'mysql' | 'mongodb' | 'turso' | 'd1' | 'starbasedb';

/** A server that was started. */
export interface StartedServer {
  kind: ServerKind;
  /** With the superuser and its password. */
  url: string;
  /** Its name and version. */
  version: string;
  /** The folder of its data, where that outlives the server. */
  data?: string;
  /** Kills it as a crash does and starts it again at the same address; `meanwhile` runs while nobody has the data open. */
  restart?(meanwhile?: () => unknown): Promise<void>;
}

export interface StartedServers {
  servers: [StartedServer, ...StartedServer[]];
  /** The variables by which tests find the servers. */
  env: Record<string, string>;
  stop(): Promise<void>;
}

/** Those of the kinds, by default of all, whose servers are not in the environment. */
export function missingKinds(only?: ServerKind[]): ServerKind[];

/**
 * Starts servers of the kinds in `only`, by default of all: of each the one that tests use first and, unless `all` is
 * false, also the other ones that there are.
 */
export function startServers(options?: { only?: ServerKind[]; all?: boolean }): Promise<StartedServers>;
