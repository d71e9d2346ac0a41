/** `node limit.mjs URL`: reads the whole table and throws it away, unparsed. */

import { drainByPages } from '../drain.mjs';
import * as server from './server.mjs';

// Larger pages are no faster.
await drainByPages(server, 10_000);
