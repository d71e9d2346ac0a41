/** The kinds of column that the tables of the SQL databases have: how a copy may spell their values. */

/** A time in one spelling, whatever the separator and the width of the fraction; `zone` is what its zone becomes. */
function time(text, zone) {
  const parts = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? ?(Z|UTC|[+-]00(?::?00)?)?$/.exec(text);
  if (!parts) return text;
  const fraction = (parts[3] ?? '').padEnd(6, '0').replace(/(?<=^.{6})0+$/, '');
  return `${parts[1]} ${parts[2]}.${fraction}${zone(parts[4])}`;
}

/** JSON with its members in the alphabet's order; text that isn't JSON stays as it is. */
function json(text) {
  const ordered = (_, value) =>
    value?.constructor === Object
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  try {
    return JSON.stringify(JSON.parse(text), ordered);
  } catch {
    return text;
  }
}

const same = (text) => text;

/**
 * Of each kind: `declared`, the type that a program declares in SQLite which knows what the column holds; and `plain`,
 * from the text of a value, the source's or a copy's, to one that is the same for all spellings which lose nothing.
 */
export const KINDS = {
  integer: { declared: 'INTEGER', plain: same },
  /** With at most 15 digits, which a double holds. */
  numeric: { declared: 'REAL', plain: (text) => (/^-?\d+(\.\d+)?$/.test(text) ? String(Number(text)) : text) },
  boolean: {
    declared: 'INTEGER',
    plain: (text) => ({ t: '1', true: '1', f: '0', false: '0' })[text.toLowerCase()] ?? text,
  },
  json: { declared: 'TEXT', plain: json },
  uuid: { declared: 'TEXT', plain: (text) => text.toLowerCase().replaceAll('-', '') },
  text: { declared: 'TEXT', plain: same },
  timestamp: { declared: 'TEXT', plain: (text) => time(text, () => '') },
  timestamptz: { declared: 'TEXT', plain: (text) => time(text, (zone) => (zone ? 'Z' : '')) },
};

/** What a copy lost that holds `cell`, a text or null, where the source holds `text`; undefined when it is nothing. */
export function loss(kind, text, cell) {
  if (text === cell) return undefined;
  if (text === null) return `NULL becomes '${cell}'`;
  if (cell === null) return 'becomes NULL';
  const [want, got] = [text, cell].map(KINDS[kind].plain);
  if (want === got) return undefined;
  return (kind.startsWith('timestamp') && timeLoss(want, got)) || 'differs';
}

/** What a time lost that is the same but for its zone or its last digits. */
function timeLoss(want, got) {
  const zone = want.endsWith('Z') && !got.endsWith('Z') ? 'no time zone' : undefined;
  const [whole, part] = [want, got].map((text) => text.replace('Z', ''));
  if (whole === part) return zone;
  const digits = whole.startsWith(part.replace(/0+$/, '')) ? 'digits of the second lost' : undefined;
  return digits && [digits, ...(zone ? [zone] : [])].join(', ');
}
