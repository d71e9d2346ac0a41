//! Rows as sources send them.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, doc};
use data_sync::mapping::time::instant_text;

use crate::events::Event;

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const PG_EPOCH: i64 = 946_684_800_000_000;

/// A piece for each row, one behind the other.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    /// The first `count` rows.
    pub fn first(&self, count: usize) -> &[u8] {
        &self.bytes[..count.checked_sub(1).map_or(0, |last| self.ends[last])]
    }
}

/// What PostgreSQL answers to `COPY … (FORMAT binary)`.
pub fn postgresql(events: &[Event]) -> Rows {
    let mut rows = Rows { bytes: b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(), ends: Vec::new() };
    for event in events {
        let out = &mut rows.bytes;
        out.extend_from_slice(&11_i16.to_be_bytes());
        field(out, &event.id.to_be_bytes());
        field(out, &event.quantity.to_be_bytes());
        field(out, event.title.as_bytes());
        field(out, event.body.as_bytes());
        field(out, &numeric(event.cents));
        field(out, &[event.active.into()]);
        field(out, &[b"\x01", event.details.text().as_bytes()].concat());
        field(out, &event.reference);
        match &event.note {
            Some(note) => field(out, note.as_bytes()),
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
        for micros in [event.created_at, event.updated_at] {
            field(out, &(micros - PG_EPOCH).to_be_bytes());
        }
        rows.ends.push(rows.bytes.len());
    }
    rows
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&i32::try_from(bytes.len()).expect("a short field").to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A `numeric(12, 2)`: groups of four digits, without those at either end that are zero.
pub fn numeric(cents: u64) -> Vec<u8> {
    let [fraction, mut whole] = [cents % 100 * 100, cents / 100];
    let mut groups = vec![fraction];
    while whole > 0 {
        groups.push(whole % 10_000);
        whole /= 10_000;
    }
    let weight = i16::try_from(groups.len()).unwrap_or(0) - 2;
    groups.reverse();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let mut out = Vec::new();
    for part in [i16::try_from(groups.len()).unwrap_or(0), weight, 0, 2] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    for group in groups {
        out.extend_from_slice(&u16::try_from(group).unwrap_or(0).to_be_bytes());
    }
    out
}

/// Documents of BSON.
pub fn mongodb(events: &[Event]) -> Rows {
    let mut rows = Rows::default();
    for event in events {
        let mut id = [0; 12];
        id[4..].copy_from_slice(&event.id.to_be_bytes());
        let price: Decimal128 = price(event.cents).parse().expect("a decimal number");
        let [first, second] = &event.details.tags;
        let mut document = doc! {
            "_id": ObjectId::from_bytes(id),
            "quantity": event.quantity,
            "title": &event.title,
            "body": &event.body,
            "price": price,
            "active": event.active,
            "details": {
                "ok": event.details.ok,
                "kind": &event.details.kind,
                "size": i32::from(event.details.size),
                "tags": [first, second],
            },
            "reference": reference(event),
        };
        document.extend(event.note.as_ref().map(|note| ("note".to_owned(), Bson::from(note))));
        document.insert("created_at", DateTime::from_millis(event.created_at / 1000));
        document.insert("updated_at", DateTime::from_millis(event.updated_at / 1000));
        rows.bytes.extend(document.to_vec().expect("a document"));
        rows.ends.push(rows.bytes.len());
    }
    rows
}

/// Rows in an answer of Cloudflare D1, where they are kept as an application would keep them there.
pub fn json(events: &[Event]) -> Vec<u8> {
    let text = |text: &str| format!("t{text}");
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            serde_json::json!([
                event.id,
                event.quantity,
                text(&event.title),
                text(&event.body),
                price(event.cents).parse::<f64>().expect("a number"),
                i32::from(event.active),
                text(&event.details.text()),
                text(&reference(event)),
                event.note.as_deref().map(text),
                text(&instant_text(event.created_at, 3)),
                text(&instant_text(event.updated_at, 3)),
            ])
        })
        .collect();
    serde_json::to_vec(&rows).expect("JSON")
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn reference(event: &Event) -> String {
    let mut out = Vec::new();
    data_sync::mapping::form::push_uuid(&event.reference, &mut out);
    String::from_utf8(out).expect("digits")
}
