/**
 * `node limit.mjs URL`: reads the whole table and throws it away. Nothing that reads it can be faster.
 *
 * mysql2 only opens the connection: it would look at every value, so the answer is walked through here, packet by packet.
 */

import mysql from 'mysql2';

const client = mysql.createConnection({ uri: process.argv[2] });
await client.promise().connect();
const { stream } = client;
stream.removeAllListeners('data');

const query = Buffer.from('\x03SELECT * FROM events');
stream.write(Buffer.concat([Buffer.from([query.length, 0, 0, 0]), query]));

/** Ends after the second packet that marks an end: the first one follows the columns, the second the rows. */
await new Promise((resolve, reject) => {
  let rest = Buffer.alloc(0);
  let skip = 0;
  let ends = 0;
  stream.on('error', reject).on('close', () => reject(new Error('The server ended the connection')));
  stream.on('data', (chunk) => {
    const data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = skip;
    // The length of a packet is in three bytes before it, then comes its number.
    while (at + 5 <= data.length) {
      const length = data.readUIntLE(at, 3);
      const first = data[at + 4];
      if (first === 0xff) return reject(new Error('The server refused to read the table'));
      if (first === 0xfe && length < 9 && ++ends === 2) return resolve();
      at += 4 + length;
    }
    skip = Math.max(0, at - data.length);
    rest = data.subarray(Math.min(at, data.length));
  });
});
client.destroy();
