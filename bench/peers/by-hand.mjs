import { fileURLToPath } from 'node:url';

const program = (source) => fileURLToPath(new URL(`../programs/${source.name}/by-hand.mjs`, import.meta.url));

export default {
  title: 'JS by hand',
  load: (source, file) => ({ node: [program(source), source.url, file] }),
  stay: (source, file) => [program(source), source.url, file],
  form: 'raw',
};
