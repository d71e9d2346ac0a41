import { type Collection, type Db, Decimal128, type Document, MongoClient } from 'mongodb';
import { newOrders, orders, products, users } from '../documents.js';
import type { DemoDatabase, DemoKind, Variables } from './database.js';

const MAKE: Record<string, () => Document[]> = { users, products, orders };
/** A collection that tells which of the others the demo made. */
const MARK = 'data_sync_demo';

class MongodbDatabase implements DemoDatabase {
  constructor(
    private readonly client: MongoClient,
    private readonly db: Db,
  ) {}

  async create(): Promise<void> {
    const marks: Collection<{ _id: string }> = this.db.collection(MARK);
    const ours = new Set((await marks.find().toArray()).map(({ _id }) => _id));
    const there = (await this.db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
    const foreign = Object.keys(MAKE).find((name) => there.includes(name) && !ours.has(name));
    if (foreign) {
      throw new Error(`There is another collection named ${foreign} here; run the demo in a database without one`);
    }
    await this.drop();
    for (const [name, documents] of Object.entries(MAKE)) {
      await marks.insertOne({ _id: name });
      const collection = this.db.collection(name);
      await collection.insertMany(documents(), { ordered: false });
      await collection.createIndex({ updated_at: 1, _id: 1 });
    }
  }

  async change(): Promise<void> {
    // The server's clock, which the plugin goes by.
    const now: Date = (await this.db.command({ hello: 1 })).localTime;
    for (const { _id, name, balance } of await this.db
      .collection('users')
      .find({ id: { $lte: 3 } })
      .toArray()) {
      const richer = Decimal128.fromString((Number(balance) + 0.01).toFixed(2));
      await this.db
        .collection('users')
        .updateOne({ _id }, { $set: { balance: richer, name: `${name} ✓`, updated_at: now } });
    }
    await this.db
      .collection('products')
      .updateOne({ sku: 'P-0007' }, { $set: { price: Decimal128.fromString('19.99'), updated_at: now } });
    await this.db.collection('orders').insertMany(newOrders(now));
  }

  async totals(): Promise<{ orders: number; revenue: number }> {
    const [sums] = await this.db
      .collection('orders')
      .aggregate([{ $group: { _id: null, orders: { $sum: 1 }, revenue: { $sum: '$total' } } }])
      .toArray();
    return { orders: sums?.orders, revenue: Number(sums?.revenue) };
  }

  async drop(): Promise<void> {
    for (const name of [...Object.keys(MAKE), MARK]) await this.db.dropCollection(name);
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}

export const mongodb: DemoKind = {
  async prepare(url) {
    const uri = new URL(url);
    uri.pathname = '/demo';
    return { EXTERNAL_DB_MONGODB_URI: uri.href };
  },

  async connect(variables: Variables) {
    const uri = variables.EXTERNAL_DB_MONGODB_URI;
    if (!uri) throw new Error('EXTERNAL_DB_MONGODB_URI is not set');
    const client = await MongoClient.connect(uri);
    // Without a name it is the one in the address.
    return new MongodbDatabase(client, client.db());
  },

  place: () => 'the database of EXTERNAL_DB_MONGODB_URI',

  // Documents of the same hour as the last one are read again: a slow client might have added some since.
  expected: { balance: '1815.13', updatedAt: '2024-03-01T10:00:00.123Z', read: 600 },
};
