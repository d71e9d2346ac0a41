/** Prints a table in Markdown; the last column is text where `note` is given, its heading. */
export function print(heading, lines, note) {
  const rows = [['', ...heading, ...(note ? [note] : [])], ...lines];
  const left = (column) => column === 0 || (note !== undefined && column === rows[0].length - 1);
  const widths = rows[0].map((_, column) => Math.max(3, ...rows.map((row) => row[column].length)));
  for (const [index, row] of rows.entries()) {
    const cells = row.map((cell, column) =>
      left(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
    if (index === 0) {
      const rules = widths.map((width, column) => `${'-'.repeat(width + 1)}${left(column) ? '-' : ':'}`);
      process.stdout.write(`|${rules.join('|')}|\n`);
    }
  }
}
