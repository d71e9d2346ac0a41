import type { DataSyncPlugin, SyncEvents } from '../../index.js';

const EVENTS: readonly (keyof SyncEvents)[] = [
  'syncStart',
  'tableStart',
  'progress',
  'tableComplete',
  'schemaChange',
  'log',
  'syncComplete',
  'syncError',
];

/** Writes down all that a plugin tells, in order. */
export class Recorder {
  readonly events: { [E in keyof SyncEvents]: { name: E; payload: SyncEvents[E][0] } }[keyof SyncEvents][] = [];

  constructor(plugin: DataSyncPlugin) {
    for (const name of EVENTS) {
      plugin.on(name, (payload) => {
        this.events.push({ name, payload } as (typeof this.events)[number]);
      });
    }
  }

  /** The names of the events, without `log` and `progress`. */
  get outline(): string[] {
    return this.events.map((event) => event.name).filter((name) => name !== 'log' && name !== 'progress');
  }

  /** The payloads of one event. */
  of<E extends keyof SyncEvents>(name: E): SyncEvents[E][0][] {
    return this.events.filter((event) => event.name === name).map((event) => event.payload as SyncEvents[E][0]);
  }

  /** The log lines. */
  get lines(): string[] {
    return this.of('log').map((line) => line.message);
  }

  /** Everything there is to read in what was told, stacks included. */
  get text(): string {
    const all = (_key: string, value: unknown) =>
      value instanceof Error ? { ...value, message: value.message, stack: value.stack } : value;
    return JSON.stringify(this.events, all);
  }

  clear(): void {
    this.events.length = 0;
  }
}
