import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../programs/ours.mjs', import.meta.url));

export default {
  title: 'plugin-data-sync',
  load: (url, file) => ({ node: [program, url, file] }),
  stay: (url, file) => [program, url, file],
  form: 'ours',
};
