//! The paths by name. Each gets as many rows as it may need, whatever part of them it then takes: what it costs to make
//! them is the same for every part, so that the difference between two parts is the path's alone.

use std::hint::black_box;

use data_sync::batch::Batch;
use data_sync::bench::{self, BATCH_ROWS, WIDTH};
use data_sync::mapping::SqliteType::{self, Integer, Real, Text};
use data_sync::mapping::decimal::Grouped;
use data_sync::mapping::form::{Scalar, push_cell};
use data_sync::mapping::time::MICROS_PER_DAY;
use data_sync::target::{Changes, Write};

use crate::encode;
use crate::events::{Event, events};

/// The most rows that a path takes.
pub const MOST: usize = 12_000;

/// A way that rows take, given all of them and how many to take.
pub type Path = fn(&[Event], usize);

/// All of them, with what they do.
pub const ALL: [(&str, Path); 9] = [
    ("decode postgresql", postgresql),
    ("decode mongodb", mongodb),
    ("decode d1", d1),
    ("map", map),
    ("bind", bind),
    ("write new rows", write_new),
    ("write changed rows", write_changed),
    ("write equal rows", write_equal),
    ("write aside", write_aside),
];

/// Takes `rows` rows along `path`.
pub fn run(path: Path, rows: usize) {
    path(&events(MOST as u64), rows);
}

fn postgresql(events: &[Event], rows: usize) {
    bench::postgresql(encode::postgresql(events).first(rows), consume);
}

fn mongodb(events: &[Event], rows: usize) {
    bench::mongodb(encode::mongodb(events).first(rows), consume);
}

fn d1(events: &[Event], rows: usize) {
    let pages: Vec<_> = events.chunks(BATCH_ROWS).map(encode::json).collect();
    bench::json(pages.iter().take(rows / BATCH_ROWS).map(Vec::as_slice), consume);
}

fn consume(batch: &mut Batch) {
    black_box(batch);
}

/// Values that were read but not yet spelled, to cells.
fn map(events: &[Event], rows: usize) {
    let numerics: Vec<_> = events.iter().map(|event| encode::numeric(event.cents)).collect();
    let details: Vec<_> = events.iter().map(|event| event.details.text()).collect();
    let scalars: Vec<_> = (0..MOST).map(|row| scalars(&events[row], &numerics[row], &details[row])).collect();
    let (mut batch, mut scratch) = (Batch::new(WIDTH), Vec::new());
    for rows in scalars[..rows].chunks(BATCH_ROWS) {
        batch.reset(WIDTH);
        for &(scalar, sqlite) in rows.iter().flatten() {
            push_cell(scalar, sqlite, &mut batch, &mut scratch);
        }
        black_box(&batch);
    }
}

fn scalars<'a>(event: &'a Event, numeric: &'a [u8], details: &'a str) -> Vec<(Scalar<'a>, SqliteType)> {
    let time = |micros: i64| Scalar::Timestamp {
        days: micros / MICROS_PER_DAY,
        micros: micros % MICROS_PER_DAY,
        digits: 6,
        zoned: true,
    };
    let weight = i16::from_be_bytes([numeric[2], numeric[3]]);
    let price = Grouped::new(false, weight, 2, &numeric[8..]).expect("groups below 10,000");
    vec![
        (Scalar::Int(event.id), Integer),
        (Scalar::Int(event.quantity.into()), Integer),
        (Scalar::Text(event.title.as_bytes()), Text),
        (Scalar::Text(event.body.as_bytes()), Text),
        (Scalar::Decimal(price), Real),
        (Scalar::Bool(event.active), Integer),
        (Scalar::Json(details.as_bytes()), Text),
        (Scalar::Uuid(event.reference), Text),
        (Scalar::Text(event.note.as_deref().unwrap_or_default().as_bytes()), Text),
        (time(event.created_at), Text),
        (time(event.updated_at), Text),
    ]
}

/// Every value of the rows to SQLite, which does nothing with them.
fn bind(events: &[Event], rows: usize) {
    bench::bind(part(batches(events), rows));
}

fn write_new(events: &[Event], rows: usize) {
    write(part(batches(events), rows), rows);
}

/// Rows that are there, with other prices.
fn write_changed(events: &[Event], rows: usize) {
    let changed: Vec<_> = events.iter().map(|event| Event { cents: event.cents + 1, ..event.clone() }).collect();
    let again = part(batches(&changed), rows);
    write(batches(events).into_iter().chain(again), MOST);
}

/// Rows that are there as they are.
fn write_equal(events: &[Event], rows: usize) {
    let again = part(batches(events), rows);
    write(batches(events).into_iter().chain(again), MOST);
}

/// Into the table that takes the place of the one that is there.
fn write_aside(events: &[Event], rows: usize) {
    write_as(Write::Aside, part(batches(events), rows));
}

fn write(loads: impl IntoIterator<Item = Batch>, inserted: usize) {
    assert_eq!(write_as(Write::Upsert, loads).inserted, inserted as u64);
}

fn write_as(write: Write, loads: impl IntoIterator<Item = Batch>) -> Changes {
    let folder = tempfile::tempdir().expect("a folder");
    bench::write(&folder.path().join("t.sqlite"), write, loads.into_iter().map(|batch| vec![batch]))
}

fn batches(events: &[Event]) -> Vec<Batch> {
    let mut batches = Vec::new();
    bench::postgresql(encode::postgresql(events).first(events.len()), |batch| batches.push(std::mem::take(batch)));
    batches
}

fn part(mut batches: Vec<Batch>, rows: usize) -> Vec<Batch> {
    batches.truncate(rows / BATCH_ROWS);
    batches
}
