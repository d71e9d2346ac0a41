import type { SourceOptions } from '../../index.js';

/** `EXTERNAL_DB_*`, by name; what only the demo knows begins with `DEMO_`. */
export type Variables = Record<string, string | undefined>;

/** A connection to the database that the demo runs against, and what the demo does there. */
export interface DemoDatabase {
  /** Creates the demo's tables and their rows. Fails where there is another table with one of their names. */
  create(): Promise<void>;
  /** Updates three users and one product, and adds two orders. */
  change(): Promise<void>;
  /** How many orders there are, and what they cost together. */
  totals(): Promise<{ orders: number; revenue: number }>;
  /** Drops what {@link create} made. */
  drop(): Promise<void>;
  close(): Promise<void>;
}

/** A kind of database, and where its replica looks different from that of the others. */
export interface DemoKind {
  /** The variables for a server that was started for the demo; makes a database there where none is. */
  prepare(url: string): Promise<Variables>;
  /** What stands in for the server where there is none to start. */
  start?(): Promise<{ url: string; about: string; stop(): Promise<void> }>;
  connect(variables: Variables): Promise<DemoDatabase>;
  /** The plugin's option `source`, where its variables can't say where the database is. */
  source?(variables: Variables): SourceOptions | undefined;
  /** How the database is called in what the demo says. */
  place(variables: Variables): string;
  expected: {
    /** The first user's balance after the change. */
    balance: number | string;
    /** When the fourth user was updated. */
    updatedAt: string;
    /** Less than this is read by a run that finds the six changed rows. */
    read: number;
  };
}
