/** `node limit.mjs URL`: reads the whole collection and throws it away, unparsed. Nothing that reads it can be faster. */

import { MongoClient } from 'mongodb';

const client = await MongoClient.connect(process.argv[2]);
const cursor = client.db().collection('events').find({}, { batchSize: 1000, raw: true });
while (await cursor.hasNext()) cursor.readBufferedDocuments();
await cursor.close();
await client.close();
