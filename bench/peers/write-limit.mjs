import { join } from 'node:path';
import { hostTriple, root, run } from '../../scripts/workspace.mjs';

const NAME = 'write-limit';
const program = join(root, 'target', hostTriple(), 'release', 'examples', NAME);

export default {
  title: 'limit: written from memory',
  floor: true,
  /** Its rows are those of this peer's copy, of the same round. */
  from: 'ours',
  prepare: () => run('cargo', ['build', '--release', '--target', hostTriple(), '--example', NAME]),
  load: (_, file, copy) => ({ command: [program, copy, file], tells: true }),
};
