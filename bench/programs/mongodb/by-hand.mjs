/**
 * `node by-hand.mjs URL FILE [--stay]`: what a good programmer writes in an afternoon, and the measure of everything else.
 *
 * mongodb and better-sqlite3; the server finds the next 1,000 documents while this thread writes the last 1,000, one
 * transaction each, as upserts. It promises less than we do: documents that are inserted late are lost, a copy that was cut
 * off begins anew, and a field that has another type in some document, or that nobody knew of, is not provided for.
 */

import { MongoClient, ObjectId } from 'mongodb';
import { BATCH, openReplica } from '../replica.mjs';
import { stay } from '../stay.mjs';

const [url, file, mode] = process.argv.slice(2);

const client = await MongoClient.connect(url);
const events = client.db().collection('events');

const replica = openReplica(file, {
  _id: 'TEXT',
  quantity: 'INTEGER',
  title: 'TEXT',
  body: 'TEXT',
  price: 'TEXT',
  active: 'INTEGER',
  details: 'TEXT',
  reference: 'TEXT',
  note: 'TEXT',
  created_at: 'TEXT',
  updated_at: 'TEXT',
});

const rowOf = (document) => [
  document._id.toHexString(),
  document.quantity,
  document.title,
  document.body,
  document.price.toString(),
  document.active ? 1 : 0,
  JSON.stringify(document.details),
  document.reference,
  document.note ?? null,
  document.created_at.toISOString(),
  document.updated_at.toISOString(),
];

async function copy(cursor, wanted = () => true) {
  let count = 0;
  let last;
  let more = cursor.hasNext();
  while (await more) {
    const documents = cursor.readBufferedDocuments();
    more = cursor.hasNext();
    // Lets the driver send its request for the next batch before this thread is busy.
    await new Promise(setImmediate);
    const fresh = documents.filter(wanted);
    replica.write(fresh.map(rowOf));
    count += fresh.length;
    last = fresh.at(-1) ?? last;
  }
  await cursor.close();
  return { count, last };
}

const options = { batchSize: BATCH };
// Where the first sync goes on: what is updated from now on, by the server's clock.
let position = {
  updated_at: (await client.db().command({ hello: 1 })).localTime,
  _id: new ObjectId('0'.repeat(24)),
};
await copy(events.find({}, options));

async function sync() {
  const { updated_at: time, _id } = position;
  const { count, last } = await copy(
    events.find({ updated_at: { $gte: time } }, { ...options, sort: { updated_at: 1, _id: 1 } }),
    (document) => document.updated_at > time || document._id.toHexString() > _id.toHexString(),
  );
  if (last) position = last;
  return count;
}

if (mode === '--stay') await stay(sync);
replica.close();
await client.close();
