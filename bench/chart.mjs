/** Draws the figures of full copies: a bar for each peer, as long as its time is of the reference's. */

const WIDTH = 760;
const LABELS = 215;
const LINE = 30;
const BAR = 18;
const TOP = 64;
/** Room to the right of the longest bar for its figure. */
const FIGURES = 64;
const CHARACTERS = 118;

const quoted = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Lines of at most {@link CHARACTERS}, of parts that stay whole. */
function wrap(parts) {
  const lines = [''];
  for (const [index, part] of parts.entries()) {
    const text = index < parts.length - 1 ? `${part}; ` : part;
    if ((lines.at(-1) + text).length > CHARACTERS) lines.push('');
    lines[lines.length - 1] += text;
  }
  return lines.map((line) => line.trim());
}

const kindOf = ({ peer, floor }) => (peer === 'ours' ? 'ours' : floor ? 'limit' : 'other');

/** The colours are readable on white; where the reader's surroundings are dark, they are others. */
const STYLE = `
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #57606a }
    .title { font-size: 16px; font-weight: 600; fill: #24292f }
    .small { font-size: 11px }
    .strong { font-weight: 600; fill: #24292f }
    .ours { fill: #0969da }
    .other { fill: #8c959f }
    .limit { fill: none; stroke: #8c959f; stroke-dasharray: 3 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1 }
      .title, .strong { fill: #e6edf3 }
      .ours { fill: #4493f8 }
      .other { fill: #656c76 }
      .limit { stroke: #9198a1 }
    }
`;

/** An SVG of what `run.mjs` keeps as JSON; there must be a reference among its loads. */
export function chart({ date, source, table, rows, columns, machine, node, rounds, loads }) {
  const bars = loads.toSorted((a, b) => a.of_reference - b.of_reference);
  const scale = (WIDTH - LABELS - FIGURES) / Math.max(...bars.map((bar) => bar.of_reference));
  const shape = `${rows.toLocaleString('en')} rows${columns ? ` of ${columns} columns` : ''}`;
  const title = `${source.version} to SQLite: ${shape}`;
  const told = bars.map((bar) => `${bar.title} ${bar.of_reference.toFixed(2)}`).join(', ');
  const versions = wrap(bars.filter((bar) => bar.version).map((bar) => `${bar.title} (${bar.version})`));
  const once = bars.filter((bar) => bar.rounds.length < rounds).map((bar) => bar.title);
  const counted = `medians of ${rounds}${once.length > 0 ? ` (measured once: ${once.join('; ')})` : ''}`;
  const caption = [`${date}; table "${table}"; Node.js ${node}; ${machine}`, counted, ...versions];
  const bottom = TOP + bars.length * LINE;
  const height = bottom + 16 + caption.length * 15;
  const lines = bars.map((bar, index) => {
    const y = TOP + index * LINE;
    const strong = bar.peer === 'ours' ? ' class="strong"' : '';
    const length = (bar.of_reference * scale).toFixed(1);
    return `  <text x="${LABELS - 10}" y="${y + 13}" text-anchor="end"${strong}>${quoted(bar.title)}</text>
  <rect class="${kindOf(bar)}" x="${LABELS}" y="${y}" width="${length}" height="${BAR}" rx="2"/>
  <text x="${(LABELS + bar.of_reference * scale + 7).toFixed(1)}" y="${y + 13}"${strong}>${bar.of_reference.toFixed(2)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">
  <title id="title">${quoted(title)}</title>
  <desc id="description">${quoted(`Time of a full copy in proportion to JS by hand, less is better: ${told}`)}</desc>
  <style>${STYLE}  </style>
  <text class="title" x="12" y="24">${quoted(title)}</text>
  <text x="12" y="44">Time of a full copy, of what JS by hand takes (shorter is better)</text>
${lines.join('\n')}
${caption.map((line, index) => `  <text class="small" x="12" y="${bottom + 16 + index * 15}">${quoted(line)}</text>`).join('\n')}
</svg>
`;
}
