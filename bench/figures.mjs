/**
 * Writes bench/results/README.md: the tables of every result that is kept there, with the chart of each.
 *
 *     node bench/figures.mjs
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadLines, RESULTS, reconcileLines, syncLines } from './report.mjs';
import { markdown } from './table.mjs';

function section(result, chart) {
  const { source, table, rows, columns, rounds, syncs, date, machine, node } = result;
  const named = ({ title, version }) => (version ? [`${title}: ${version}`] : []);
  const parts = [
    `## ${source.version}, ${table}`,
    `${rows.toLocaleString('en')} rows${columns ? ` of ${columns} columns` : ''}; ${date}; ${machine}; Node.js ${node}. Medians of ${rounds} loads and ${syncs} syncs.`,
    result.loads.flatMap(named).join('; '),
  ];
  if (chart) parts.push(`![Seconds of each tool](${chart})`);
  parts.push(markdown(...loadLines(result.loads)));
  if (result.staying)
    parts.push('Changes and nothing, in a process that stays:', markdown(...syncLines(result.staying)));
  if (result.processes) {
    parts.push('The same, each sync a process from start to exit:', markdown(...syncLines(result.processes)));
  }
  if (result.reconciles) parts.push('Looking for deleted rows:', markdown(...reconcileLines(result.reconciles)));
  return parts.join('\n\n');
}

export function writeFigures() {
  const files = readdirSync(RESULTS);
  const sections = files
    .filter((file) => file.endsWith('.json'))
    .map((file) => {
      const chart = file.replace('.json', '.svg');
      return section(JSON.parse(readFileSync(join(RESULTS, file), 'utf8')), files.includes(chart) && chart);
    });
  const head = [
    '# Results',
    'Written by `bench/figures.mjs` from the JSON files beside it. "of it" is the ratio to JS by hand, and the floor is the slower of the',
  ];
  const text = `${head.join('\n\n')}\ntwo limits. [What is measured](../README.md).\n\n${sections.join('\n\n')}\n`;
  writeFileSync(join(RESULTS, 'README.md'), text);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) writeFigures();
