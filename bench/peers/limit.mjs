import { fileURLToPath } from 'node:url';

const program = (source) => fileURLToPath(new URL(`../programs/${source.name}/limit.mjs`, import.meta.url));

export default {
  title: 'limit: read and thrown away',
  load: (source) => ({ node: [program(source), source.url] }),
};
