import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../programs/limit.mjs', import.meta.url));

export default {
  title: 'limit: COPY binary, thrown away',
  load: (url) => ({ node: [program, url] }),
};
