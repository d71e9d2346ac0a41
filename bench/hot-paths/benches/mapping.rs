//! How long it takes to spell values, and to decode whole rows.
#![allow(missing_docs, reason = "criterion's macros write functions without any")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use data_sync::batch::Batch;
use data_sync::bench;
use data_sync::mapping::SqliteType::{self, Blob, Integer, Real, Text};
use data_sync::mapping::decimal::Grouped;
use data_sync::mapping::form::{Scalar, push_cell};
use hot_paths::encode;
use hot_paths::events::events;

const VALUES: usize = 1000;

/// Spells the same value as many times as a batch has rows.
fn values(c: &mut Criterion) {
    let zoned = |zoned| Scalar::Timestamp { days: 20_780, micros: 52_245_006_789, digits: 6, zoned };
    let digits = encode::numeric(98_765_432_101);
    let price = Scalar::Decimal(Grouped::new(false, 2, 2, &digits[8..]).expect("groups below 10,000"));
    let document = events(1)[0].details.text();
    let cases: [(&str, Scalar<'_>, SqliteType); 15] = [
        ("int", Scalar::Int(-524_288), Integer),
        ("int as text", Scalar::Int(-524_288), Text),
        ("double", Scalar::Float8(0.1), Real),
        ("double as text", Scalar::Float8(0.1), Text),
        ("single as double", Scalar::Float4(0.1), Real),
        ("numeric as double", price, Real),
        ("numeric as text", price, Text),
        ("digits as double", Scalar::Digits(b"987654321.01"), Real),
        ("digits as text", Scalar::Digits(b"987654321.01"), Text),
        ("date", Scalar::Date { days: 20_780 }, Text),
        ("timestamp", zoned(false), Text),
        ("timestamptz", zoned(true), Text),
        ("uuid", Scalar::Uuid([0xa7; 16]), Text),
        ("uuid as blob", Scalar::Uuid([0xa7; 16]), Blob),
        ("json", Scalar::Json(document.as_bytes()), Text),
    ];
    let mut group = c.benchmark_group("map 1,000 values");
    group.throughput(Throughput::Elements(VALUES as u64));
    let (mut batch, mut scratch) = (Batch::new(1), Vec::new());
    for (name, scalar, sqlite) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                batch.reset(1);
                for _ in 0..VALUES {
                    push_cell(black_box(scalar), sqlite, &mut batch, &mut scratch);
                }
                black_box(batch.size())
            });
        });
    }
}

/// Decodes a batch of rows with eleven columns.
fn rows(c: &mut Criterion) {
    let events = events(bench::BATCH_ROWS as u64);
    let [stream, documents] = [encode::postgresql(&events), encode::mongodb(&events)];
    let [stream, documents] = [&stream, &documents].map(|rows| rows.first(events.len()));
    let page = encode::json(&events);
    let consume = |batch: &mut Batch| drop(black_box(batch.size()));
    let mut group = c.benchmark_group("decode 1,000 rows");
    group.throughput(Throughput::Elements(bench::BATCH_ROWS as u64));
    group.bench_function("postgresql", |bencher| bencher.iter(|| bench::postgresql(black_box(stream), consume)));
    group.bench_function("mongodb", |bencher| bencher.iter(|| bench::mongodb(black_box(documents), consume)));
    group.bench_function("d1", |bencher| bencher.iter(|| bench::json([black_box(page.as_slice())], consume)));
}

criterion_group!(mapping, values, rows);
criterion_main!(mapping);
