'use strict';

const { MultiBar } = require('cli-progress');
const { EVENTS } = require('../events.js');

const colours = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };

/** Whether `stream` shows colours to somebody. */
const isColoured = (stream) => stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';

function paint(text, colour, stream = process.stdout) {
  return isColoured(stream) ? `\u001b[${colours[colour]}m${text}\u001b[0m` : text;
}

/** What of the texts of others may be shown on a terminal: names come from the source. */
const plain = (text) => String(text).replace(/\p{Cc}/gu, ' ');

/** Prints results and errors in the form that the user asked for. */
class Output {
  /** Whether runs show bars. */
  bars = false;

  constructor({ json = false, quiet = false }) {
    this.json = json;
    this.quiet = quiet;
  }

  /** One object of `--json`. */
  line(value) {
    process.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** A command's result: as one object, or as `show` says it. */
  result(command, value, show) {
    if (this.json) this.line({ type: 'result', command, result: value });
    else if (!this.quiet) show();
  }

  error(error) {
    const { code = 'INTERNAL', message, table = null, retryable = false } = error;
    if (this.json) this.line({ type: 'error', error: { code, message, table, retryable } });
    else process.stderr.write(`${paint(`${code}:`, 'red', process.stderr)} ${plain(message)}\n`);
    const remedy = REMEDIES[code];
    if (remedy && !this.json) process.stderr.write(`${remedy}\n`);
  }

  say(text = '') {
    process.stdout.write(`${text}\n`);
  }

  /** Rows under a head, the columns in `right` to the right. */
  table(head, rows, right = []) {
    const cells = [head, ...rows].map((row) => row.map((cell) => plain(cell ?? '–')));
    const widths = head.map((_, at) => Math.max(...cells.map((row) => row[at].length)));
    const pad = (cell, at) => (right.includes(at) ? cell.padStart(widths[at]) : cell.padEnd(widths[at]));
    const [first, ...others] = cells.map((row) => row.map(pad).join('  ').trimEnd());
    this.say(paint(first, 'dim'));
    for (const row of others) this.say(row);
  }
}

const REMEDIES = {
  CONFIG: 'See --help, or run doctor.',
  CONNECT: 'Run doctor to see what is configured where.',
  AUTH: 'Run doctor to see what is configured where.',
  SOURCE_CHANGED: 'Run reset when the target is to follow this source.',
};

/** Shows the events of a plugin while something runs: as JSON, as bars on a terminal, or not at all (the log tells). */
class Progress {
  #plugin;
  #output;
  #bars = new Map();
  #group = null;
  #listeners = [];

  constructor(plugin, output) {
    this.#plugin = plugin;
    this.#output = output;
    if (output.json) for (const name of EVENTS) this.#hear(name, (payload) => this.#tell(name, payload));
    else if (output.bars) this.#draw();
  }

  #hear(name, listener) {
    this.#plugin.on(name, listener);
    this.#listeners.push([name, listener]);
  }

  #tell(event, payload) {
    const { code, message, table, retryable } = payload;
    const data = event === 'syncError' ? { code, message, table, retryable } : payload;
    this.#output.line({ type: 'event', event, data });
  }

  #draw() {
    this.#hear('progress', ({ table, rows, estimatedRows, rowsPerSecond }) => {
      const total = Math.max(estimatedRows ?? 0, rows);
      const speed = Math.round(rowsPerSecond).toLocaleString();
      const bar = this.#bars.get(table) ?? this.#add(table, total);
      bar.setTotal(total);
      bar.update(rows, { speed, rows: rows.toLocaleString() });
    });
    this.#hear('tableComplete', ({ table, rowsRead }) => {
      const bar = this.#bars.get(table);
      bar?.setTotal(rowsRead);
      bar?.update(rowsRead, { rows: rowsRead.toLocaleString() });
    });
  }

  #add(table, total) {
    this.#group ??= new MultiBar({
      stream: process.stderr,
      format: '{table} {bar} {percentage}%  {rows} rows  {speed}/s',
      barsize: 30,
      hideCursor: true,
      clearOnComplete: false,
      barCompleteChar: '█',
      barIncompleteChar: '░',
    });
    const bar = this.#group.create(total, 0, { table: plain(table).slice(0, 24).padEnd(24), speed: '', rows: '0' });
    this.#bars.set(table, bar);
    return bar;
  }

  end() {
    for (const [name, listener] of this.#listeners) this.#plugin.off(name, listener);
    this.#group?.stop();
  }
}

module.exports = { Output, Progress, paint, plain };
