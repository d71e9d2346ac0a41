import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../programs/ours.mjs', import.meta.url));

export default {
  title: 'plugin-data-sync',
  load: (source, file) => ({ node: [program, source.url, file] }),
  stay: (source, file) => [program, source.url, file],
  form: 'ours',
};
