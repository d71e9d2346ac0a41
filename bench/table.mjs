/** A table in Markdown; the last column is text where `note` is given, its heading. */
export function markdown(heading, lines, note) {
  const rows = [['', ...heading, ...(note ? [note] : [])], ...lines];
  const left = (column) => column === 0 || (note !== undefined && column === rows[0].length - 1);
  const widths = rows[0].map((_, column) => Math.max(3, ...rows.map((row) => row[column].length)));
  const text = rows.map((row) => {
    const cells = row.map((cell, column) =>
      left(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    return `| ${cells.join(' | ')} |`;
  });
  const rules = widths.map((width, column) => `${'-'.repeat(width + 1)}${left(column) ? '-' : ':'}`);
  return [text[0], `|${rules.join('|')}|`, ...text.slice(1)].join('\n');
}

/** Prints such a table. */
export function print(...table) {
  process.stdout.write(`${markdown(...table)}\n`);
}
