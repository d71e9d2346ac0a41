/** What a program does that stays after its first load: one sync for each line it reads. */

import { createInterface } from 'node:readline';

/** `sync` gives the number of rows it wrote. */
export async function stay(sync) {
  process.stdout.write('{}\n');
  for await (const _ of createInterface(process.stdin)) {
    const cpu = process.cpuUsage();
    const begin = performance.now();
    const rows = await sync();
    const wall = (performance.now() - begin) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    process.stdout.write(`${JSON.stringify({ wall, cpu: (user + system) / 1e6, rows })}\n`);
  }
}
