/** A server that speaks MongoDB's protocol, with the collection that is copied. */

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { CHANGED } from '../source.mjs';

const require = createRequire(import.meta.url);

/** Each column: its text from a document, and its storage class. A driver's own text is not another one. */
const OURS = {
  _id: [({ _id }) => _id.toHexString(), 'text'],
  quantity: [({ quantity }) => String(quantity), 'integer'],
  title: [({ title }) => title, 'text'],
  body: [({ body }) => body, 'text'],
  price: [({ price }) => price.toString(), 'text'],
  active: [({ active }) => (active ? '1' : '0'), 'integer'],
  details: [({ details }) => JSON.stringify(details), 'text'],
  reference: [({ reference }) => reference, 'text'],
  note: [({ note }) => note ?? null, 'text', 'null'],
  created_at: [({ created_at }) => created_at.toISOString(), 'text'],
  updated_at: [({ updated_at }) => updated_at.toISOString(), 'text'],
};

const FORMS = { ours: OURS, raw: OURS };

/** Milliseconds from one document to the next. */
const SPACING = 20_123.457;
const MONTH = 30 * 86_400_000;

export const kind = 'mongodb';
export const rows = 300_000;

export async function connect(server) {
  const { MongoClient } = require('mongodb');
  const client = await MongoClient.connect(server);
  const events = client.db('bench').collection('events');
  let last = 0;
  let start = 0;
  return {
    url: new URL('bench', server).href,
    key: '_id',
    forms: FORMS,
    fill: async (count) => {
      // The last document is of now, and each may have been updated within a month.
      start = Date.now() - MONTH - count * SPACING;
      await add(events, start, 1, count);
      last = count;
      // What anyone who reads a large collection by `updated_at` has.
      await events.createIndex({ updated_at: 1, _id: 1 });
    },
    read: (form) => read(events, FORMS[form]),
    change: async (round) => {
      // The server's clock, which a sync goes by.
      const now = (await client.db().command({ hello: 1 })).localTime;
      await change(events, start, round, last, now);
      last += CHANGED;
    },
    close: () => client.close(),
  };
}

/** Adds the documents from the number `first` to `last`. Every value follows from the number, and the times also from `start`. */
async function add(events, start, first, last, changes = {}) {
  const { Decimal128, Int32, ObjectId } = require('mongodb');
  const NOTES = ['Grüße aus Köln', '東京で確認済み', 'Livré à Orléans', '🚚 доставлено'];
  for (let from = first; from <= last; from += 1000) {
    const documents = [];
    for (let id = from; id < from + 1000 && id <= last; id++) {
      const digest = createHash('md5').update(String(id)).digest('hex');
      const h = BigInt(`0x${digest.slice(0, 15)}`);
      const created = start + Math.floor(id * SPACING);
      documents.push({
        _id: objectId(ObjectId, id),
        quantity: new Int32(Number(h & 1048575n) - 524288),
        title: `Event ${digest.slice(0, 12)} of day ${id % 366}`,
        body: `Moved from ${digest.slice(4, 20)} to ${digest.slice(1, 17)}`,
        price: Decimal128.fromString((Number(h % 100000000000n) / 100).toFixed(2)),
        active: h % 3n !== 0n,
        details: {
          ok: h % 2n === 0n,
          kind: digest.slice(8, 16),
          size: new Int32(Number(h % 10000n)),
          tags: ['new', digest.slice(2, 14)],
        },
        reference: digest.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
        ...(id % 4 !== 0 ? { note: `${NOTES[Number(h % 4n)]} ${id % 1000}` } : {}),
        created_at: new Date(created),
        updated_at: new Date(created + Number(h % BigInt(MONTH))),
        ...changes,
      });
    }
    await events.insertMany(documents, { ordered: false });
  }
}

/** The key of the document `number`: ascending, as those that clients make are by and large. */
function objectId(ObjectId, number) {
  return new ObjectId(number.toString(16).padStart(24, '0'));
}

async function* read(events, form) {
  const values = Object.values(form).map(([value]) => value);
  let batch = [];
  for await (const document of events.find().sort({ _id: 1 }).batchSize(10_000)) {
    if (batch.push(values.map((value) => value(document))) < 10_000) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

async function change(events, start, round, last, now) {
  const { Decimal128, ObjectId } = require('mongodb');
  const numbers = [1];
  for (let n = 1; n < CHANGED; n++) numbers.push(Math.floor((n * (last - round)) / CHANGED) + round);
  await events.updateMany(
    { _id: { $in: numbers.map((number) => objectId(ObjectId, number)) } },
    { $inc: { price: Decimal128.fromString('1'), quantity: 1 }, $set: { updated_at: now } },
  );
  await add(events, start, last + 1, last + CHANGED, { created_at: now, updated_at: now });
}
