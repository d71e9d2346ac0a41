/** The demo's documents for MongoDB: the same people, products and orders as in the SQL files. */

import { createHash } from 'node:crypto';
import { Binary, Decimal128, type Document, Double, ObjectId } from 'mongodb';

const md5 = (text: string) => createHash('md5').update(text).digest('hex');
const uuid = (text: string) => md5(text).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
/** The same identifier in every run. */
const objectId = (text: string) => new ObjectId(md5(text).slice(0, 24));
const cents = (number: number) => Decimal128.fromString((number / 100).toFixed(2));
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const after = (start: string, milliseconds: number) => new Date(Date.parse(start) + milliseconds);

const PEOPLE: Document[] = [
  {
    name: 'Ada Lovelace',
    email: 'ada@example.com',
    is_active: true,
    balance: Decimal128.fromString('1815.12'),
    tags: ['math', 'engines'],
    settings: { theme: 'dark', limits: { daily: Decimal128.fromString('12345678901234567890') } },
    birthday: new Date('1815-12-10'),
  },
  {
    name: 'Þórbergur Þórðarson',
    email: 'thor@example.is',
    is_active: true,
    balance: Decimal128.fromString('0.10'),
    tags: ['with, comma', null, ''],
    settings: { emoji: '🦊' },
    birthday: new Date('1888-03-12'),
  },
  // No e-mail, no settings and no birthday: what a document lacks is NULL in the replica, as what it has as null.
  { name: '宮本 武蔵', email: null, is_active: false, balance: Decimal128.fromString('-42.00'), tags: [] },
  {
    name: "Zoë 'Quote' Müller",
    email: 'zoe@example.de',
    is_active: true,
    balance: Decimal128.fromString('9999999999.99'),
    tags: ['"quoted"'],
    settings: [],
    birthday: new Date('2000-02-29'),
  },
];

export function users(): Document[] {
  const people = PEOPLE.map((person, index) => ({
    _id: objectId(`user ${index + 1}`),
    id: index + 1,
    uid: `0b0e7c1a-6a54-4c6e-9d0e-0d6b1f6f000${index + 1}`,
    ...person,
    created_at: after('2024-01-01T09:00:00Z', index + 1),
    updated_at: after('2024-03-01T10:00:00.120Z', index),
  }));
  const others = range(5, 1000).map((n) => ({
    _id: objectId(`user ${n}`),
    id: n,
    uid: uuid(`user ${n}`),
    name: `User ${n}`,
    ...(n % 10 > 0 ? { email: `user${n}@example.com` } : {}),
    is_active: n % 7 > 0,
    balance: cents(n * 137),
    tags: [`group ${n % 5}`],
    settings: { n, odd: n % 2 === 1 },
    birthday: after('1960-01-01T00:00:00Z', n * DAY),
    created_at: after('2024-01-02T00:00:00Z', n * MINUTE),
    updated_at: after('2024-02-01T00:00:00Z', Math.floor(n / 100) * HOUR),
  }));
  return [...people, ...others];
}

const skuOf = (n: number) => `P-${String(n).padStart(4, '0')}`;

export function products(): Document[] {
  return range(1, 200).map((n) => ({
    _id: objectId(`product ${n}`),
    sku: skuOf(n),
    name: `Product № ${n}`,
    price: cents(n * 99),
    exact_weight: n % 3 > 0 ? Decimal128.fromString(`0.${String(n).repeat(10)}`) : null,
    rating: new Double(n / 50),
    attributes: { colour: n % 2 === 0 ? 'grün' : 'červená', stock: n },
    ...(n % 4 > 0 ? { sizes: [n, n + 1, null] } : {}),
    ...(n % 5 === 0 ? { photo: new Binary(Buffer.from(md5(String(n)), 'hex')) } : {}),
    created_at: after('2024-01-02T00:00:00Z', n * HOUR),
    updated_at: after('2024-02-01T00:00:00Z', n * HOUR),
  }));
}

export function orders(): Document[] {
  return range(1, 20_000).map((n) => ({
    _id: objectId(`order ${n}`),
    user_id: 1 + (n % 1000),
    sku: skuOf(1 + (n % 200)),
    quantity: 1 + (n % 9),
    total: cents((1 + (n % 9)) * (1 + (n % 200)) * 99),
    status: ['new', 'paid', 'shipped', 'returned'][n % 4],
    ...(n % 11 === 0 ? { note: 'ring twice – крыльцо' } : {}),
    delivery: { days: n % 14, address: { city: 'Reykjavík', floor: n % 5 } },
    created_at: after('2024-01-03T00:00:00Z', n * 1000),
    // Some were never updated: documents without the tracked field must not be lost.
    ...(n % 100 > 0 ? { updated_at: after('2024-02-02T00:00:00Z', Math.floor(n / 500) * HOUR) } : {}),
  }));
}

/** The two orders that are added later. */
export function newOrders(now: Date): Document[] {
  return [1, 2].map((quantity) => ({
    _id: objectId(`new order ${quantity}`),
    user_id: quantity,
    sku: 'P-0007',
    quantity,
    total: cents(quantity * 1999),
    status: 'new',
    created_at: now,
  }));
}
