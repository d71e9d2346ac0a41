/** `node limit.mjs URL`: reads the whole table as COPY binary and throws it away. Nothing that reads it can be faster. */

import pg from 'pg';

const client = new pg.Client({ connectionString: process.argv[2] });
await client.connect();
// pg drops the data of a COPY that nobody streams.
await client.query('COPY (SELECT * FROM events) TO STDOUT (FORMAT binary)');
await client.end();
