import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../programs/by-hand.mjs', import.meta.url));

export default {
  title: 'JS by hand',
  load: (url, file) => ({ node: [program, url, file] }),
  stay: (url, file) => [program, url, file],
  form: 'raw',
};
