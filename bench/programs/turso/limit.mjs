/** `node limit.mjs URL`: reads the whole table and throws it away, unparsed. */

import { drainByPages } from '../drain.mjs';
import * as server from './server.mjs';

// Twice as many rows would be more than the 10 MB that the server lets an answer have.
await drainByPages(server, 10_000);
