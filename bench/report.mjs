/** What is made of the figures: tables to print, and what is kept in bench/results. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../scripts/workspace.mjs';
import { chart } from './chart.mjs';

export const RESULTS = join(root, 'bench', 'results');
/** What every other peer is compared with. */
const REFERENCE = 'by-hand';

const median = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** The median of each figure of some runs; one that a run doesn't have is left out. */
function medians(runs) {
  const figures = Object.keys(runs[0]).filter((figure) => figure !== 'rows');
  return Object.fromEntries(figures.map((figure) => [figure, median(runs.map((run) => run[figure]))]));
}

const round = (value, digits) => (value === undefined ? undefined : Number(value.toFixed(digits)));
const ratio = (value, reference) => (reference === undefined ? undefined : round(value / reference, 2));

/** The figures of the full copies, with their ratios to the reference and to the floor: the slower of the limits. */
export function loadFigures(results) {
  const all = results.map(({ peer, runs, copy }) => ({ peer, copy, runs, ...medians(runs) }));
  const limits = all.filter(({ peer }) => peer.floor).map(({ wall }) => wall);
  const floor = limits.length > 0 ? Math.max(...limits) : undefined;
  const reference = all.find(({ peer }) => peer.name === REFERENCE);
  return all.map(({ peer, copy, runs, wall, cpu, memory }) => ({
    peer: peer.name,
    title: peer.title,
    version: peer.is,
    floor: peer.floor,
    seconds: round(wall, 3),
    of_reference: ratio(wall, reference?.wall),
    of_floor: ratio(wall, floor),
    cpu_seconds: round(cpu, 3),
    cpu_of_reference: ratio(cpu, reference?.cpu),
    peak_bytes: memory,
    copy,
    rounds: runs.map((run) => round(run.wall, 3)),
  }));
}

/** The figures of syncs, with their ratios to the reference. */
export function syncFigures(results) {
  const all = results.map(({ peer, changed, idle }) => ({ peer, changes: medians(changed), nothing: medians(idle) }));
  const reference = all.find(({ peer }) => peer.name === REFERENCE);
  return all.map(({ peer, ...kinds }) => ({
    peer: peer.name,
    title: peer.title,
    ...Object.fromEntries(
      Object.entries(kinds).map(([kind, { wall, cpu }]) => [
        kind,
        {
          milliseconds: round(wall * 1000, 1),
          of_reference: ratio(wall, reference?.[kind].wall),
          cpu_milliseconds: round(cpu * 1000, 1),
          cpu_of_reference: ratio(cpu, reference?.[kind].cpu),
        },
      ]),
    ),
  }));
}

/** The figures of reconciling runs, with their ratios to the same peer's full copy. */
export function reconcileFigures(results, loads) {
  return results.map(({ peer, runs }) => {
    const { wall, cpu } = medians(runs);
    const full = loads.find((load) => load.peer === peer.name);
    return {
      peer: peer.name,
      title: peer.title,
      seconds: round(wall, 3),
      of_full_copy: ratio(wall, full.seconds),
      cpu_seconds: round(cpu, 3),
      cpu_of_full_copy: ratio(cpu, full.cpu_seconds),
    };
  });
}

const fixed = (value, digits) => value?.toFixed(digits) ?? '';

/** The full copies as a table for table.mjs. */
export function loadLines(figures) {
  return [
    ['wall s', 'of it', 'of the floor', 'CPU s', 'of it', 'peak MB', 'wall s of each round'],
    figures.map((line) => [
      line.title,
      fixed(line.seconds, 2),
      fixed(line.of_reference, 2),
      fixed(line.of_floor, 2),
      fixed(line.cpu_seconds, 2),
      fixed(line.cpu_of_reference, 2),
      line.peak_bytes ? (line.peak_bytes / 1e6).toFixed(0) : '',
      line.rounds.map((wall) => wall.toFixed(2)).join(' '),
      line.copy ?? '',
    ]),
    'copy',
  ];
}

/** The syncs as a table for table.mjs. */
export function syncLines(figures) {
  return [
    ['changes: ms', 'of it', 'CPU ms', 'of it', 'nothing: ms', 'of it', 'CPU ms', 'of it'],
    figures.map(({ title, changes, nothing }) => [
      title,
      ...[changes, nothing].flatMap((kind) => [
        fixed(kind.milliseconds, 1),
        fixed(kind.of_reference, 2),
        fixed(kind.cpu_milliseconds, 1),
        fixed(kind.cpu_of_reference, 2),
      ]),
    ]),
  ];
}

/** The reconciling runs as a table for table.mjs. */
export function reconcileLines(figures) {
  return [
    ['wall s', 'of its full copy', 'CPU s', 'of its full copy'],
    figures.map((line) => [
      line.title,
      fixed(line.seconds, 2),
      fixed(line.of_full_copy, 2),
      fixed(line.cpu_seconds, 2),
      fixed(line.cpu_of_full_copy, 2),
    ]),
  ];
}

/** Keeps the figures as JSON, and with a reference also their chart. */
export function keep(result) {
  mkdirSync(RESULTS, { recursive: true });
  const path = join(RESULTS, `${result.source.name}-${result.table}`);
  const json = JSON.stringify(result, null, 2).replace(/\[[\s\d.,]+\]/g, (list) =>
    list.replace(/\s+/g, ' ').replace(/(?<=\[) | (?=\])/g, ''),
  );
  writeFileSync(`${path}.json`, `${json}\n`);
  const charted = result.loads.some(({ peer }) => peer === REFERENCE);
  if (charted) writeFileSync(`${path}.svg`, chart(result));
  process.stdout.write(
    `\nKept in bench/results: ${result.source.name}-${result.table}.json${charted ? ' and .svg' : ''}\n`,
  );
}
