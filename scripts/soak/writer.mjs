/**
 * A source's applications: `node writer.mjs SOURCE URL RATE` makes the tables, says `ready`, and then writes RATE operations a second until it is told
 * to stop by the end of its stdin. It then says how many they were.
 */

import { History } from './history.mjs';
import { SOURCES } from './sources.mjs';

/** Milliseconds between two transactions. */
const PACE = 100;
/** Of a hundred transactions, how many commit late, and by how many milliseconds at most. */
const [LATE, LONGEST] = [5, 3000];

const [name, url, rate] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let going = true;
process.stdin.on('end', () => {
  going = false;
});
process.stdin.resume();

const source = await SOURCES[name].connect(url);
await source.create();
const history = new History();
await source.write(history.begin());
say('ready');

const begin = Date.now();
let [made, late, open] = [0, 0, 0];
while (going) {
  const due = Math.floor(((Date.now() - begin) / 1000) * rate) - made;
  if (due > 0) {
    const operations = history.next(due);
    made += due;
    if (source.late && open === 0 && history.below(100) < LATE) {
      // An account may be wanted again at once, and its transaction would wait for this one.
      const own = operations.filter(({ table }) => table === 'events');
      late += 1;
      open += 1;
      const commit = source.late(own, history.below(LONGEST));
      commit.then(
        () => {
          open -= 1;
        },
        (error) => {
          process.stderr.write(`${error.stack}\n`);
          process.exit(1);
        },
      );
      await source.write(operations.filter(({ table }) => table !== 'events'));
    } else {
      await source.write(operations);
    }
  }
  await new Promise((resolve) => setTimeout(resolve, PACE));
}
while (open > 0) await new Promise((resolve) => setTimeout(resolve, PACE));
await source.close();
say({ operations: made, late, seconds: (Date.now() - begin) / 1000 });
