/** `node by-hand.mjs URL FILE [--stay]`: the reference, which `../by-pages.mjs` tells of. */

import { copyByPages } from '../by-pages.mjs';
import * as server from './server.mjs';

await copyByPages(server);
