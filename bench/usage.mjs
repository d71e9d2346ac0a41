/** Preloaded into a measured program: writes what it used to the file BENCH_USAGE when it ends. */

import { readFileSync, writeFileSync } from 'node:fs';

/**
 * The most memory that the process ever held, in bytes. Not from `getrusage`, whose figure survives exec: a small child
 * of a large process would be told its parent's.
 */
export function peakMemory() {
  if (process.platform === 'linux') {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}

if (process.env.BENCH_USAGE) {
  process.on('exit', () => {
    const { user, system } = process.cpuUsage();
    writeFileSync(process.env.BENCH_USAGE, JSON.stringify({ cpu: (user + system) / 1e6, memory: peakMemory() }));
  });
}
