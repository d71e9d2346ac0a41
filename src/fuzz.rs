//! What reads foreign bytes, by itself: for fuzz, which makes them up, and for the tests, which replay its seeds.
//!
//! Each function takes any bytes. It panics when what it feeds does, and when something isn't so that always has to be: rows
//! are whole, text is UTF-8, memory keeps to the measure of the input, and nothing depends on how the bytes were cut.

use reqwest::header::{HeaderMap, HeaderValue};
use serde::de::IgnoredAny;

use ::mongodb::bson::{Bson, DateTime, RawBsonRef, RawDocument, RawDocumentBuf, doc};

use crate::batch::{Batch, Value, ValueRef};
use crate::config::{self, Options};
use crate::mapping::SqliteType::{self, Blob, Integer, Real, Text};
use crate::mapping::decimal::{self, Grouped};
use crate::mapping::form::{self, Scalar};
use crate::mapping::time;
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{Relation, Table, TableName};
use crate::source::mongodb::date;
use crate::source::mongodb::json;
use crate::source::mongodb::kind::Pin;
use crate::source::mongodb::parse;
use crate::source::mongodb::rows::{Cells, Decoder as Documents, Hidden, Outcome};
use crate::source::mongodb::shape::{ID, ReadAs, Shape};
use crate::source::mongodb::track::Class;
use crate::source::mongodb::value::{bson_of, check_key};
use crate::source::mysql::kind::{ColumnType, Declared};
use crate::source::mysql::value::{Cell as MysqlCell, Decoder as MysqlDecoder};
use crate::source::peer::Peer;
use crate::source::postgres::copy::{Cell, Decoder, Step};
use crate::source::postgres::wire::Wire;
use crate::source::sqlite::http::Answer;
use crate::source::sqlite::link::Fault;
use crate::source::sqlite::{catalog, d1 as d1_source, hrana as hrana_source, starbasedb as starbasedb_source};
use crate::source::{text_time, uuid7};

const SQLITE: [SqliteType; 4] = [Text, Integer, Real, Blob];

/// How many bytes a batch takes for one of the input: NULL is two bytes in JSON, and a cell takes sixteen.
const GROWTH: usize = 8;

/// The longest text of one number of PostgreSQL's, whose digits don't grow with its bytes.
const LONGEST_NUMERIC: usize = 150_000;

/// A text that stands for a secret. It has a sign that no keyword has, so it is never repeated.
const SECRET: &str = "s3cr3t!";

/// The first byte, and what is left; 0 where there is none.
fn byte(data: &mut &[u8]) -> u8 {
    let Some((first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    *first
}

/// The member of `list` that the first byte chooses.
fn one<T: Clone>(list: &[T], data: &mut &[u8]) -> T {
    list[usize::from(byte(data)) % list.len()].clone()
}

/// What comes before the first `end`; the rest is left.
fn until<'a>(end: u8, data: &mut &'a [u8]) -> &'a [u8] {
    let at = data.iter().position(|byte| *byte == end).unwrap_or(data.len());
    let (before, rest) = data.split_at(at);
    *data = rest.get(1..).unwrap_or_default();
    before
}

/// Every value of a batch whose rows have to be whole.
fn values(batch: &Batch) -> Vec<Value> {
    let columns: Vec<usize> = (0..batch.width()).collect();
    let values: Vec<Value> = (0..batch.rows()).flat_map(|row| batch.key(row, &columns)).collect();
    assert_eq!(batch.is_empty(), values.is_empty(), "a row is not whole");
    values
}

/// Whether every text is UTF-8, where somebody vouches for it.
fn is_utf8(batch: &Batch) -> bool {
    let mut cells = (0..batch.rows()).flat_map(|row| batch.row(row));
    cells.all(|cell| !matches!(batch.resolve(*cell), ValueRef::Text(text) if std::str::from_utf8(text).is_err()))
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Rows of PostgreSQL's: flags, the columns, four sizes of pieces, then the stream, with its header or without.
pub fn copy(mut data: &[u8]) {
    const WIRES: [Wire; 18] = [
        Wire::Text,
        Wire::Bool,
        Wire::Int2,
        Wire::Int4,
        Wire::Int8,
        Wire::Oid,
        Wire::Float4,
        Wire::Float8,
        Wire::Numeric,
        Wire::Json,
        Wire::Jsonb,
        Wire::Bytes,
        Wire::Uuid,
        Wire::Date,
        Wire::Time { digits: 6 },
        Wire::TimeTz { digits: 3 },
        Wire::Timestamp { digits: 0 },
        Wire::TimestampTz { digits: 6 },
    ];
    let flags = byte(&mut data);
    let (check_text, has_header) = (flags & 1 != 0, flags & 2 == 0);
    let mut growth = GROWTH;
    let cells: Vec<Cell> = (0..=flags >> 5)
        .map(|index| {
            let choice = byte(&mut data);
            let wire = WIRES[usize::from(choice & 31) % WIRES.len()].clone();
            if wire == Wire::Numeric {
                // The shortest one, with its length, takes twelve bytes.
                growth = LONGEST_NUMERIC / 12;
            }
            let wire = if choice & 32 == 0 { wire } else { Wire::Array(Box::new(wire)) };
            Cell { name: format!("c{index}"), wire, sqlite: SQLITE[usize::from(choice >> 6)] }
        })
        .collect();
    let sizes = [(); 4].map(|()| usize::from(byte(&mut data)) + 1);
    let header = if has_header { &b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..] } else { b"" };
    let stream = [header, data].concat();

    let decode = |sizes: &[usize]| {
        let mut decoder = Decoder::new(cells.clone(), check_text);
        let (mut batch, mut rows) = (Batch::new(cells.len()), 0);
        let (mut carry, mut rest, mut sizes) = (Vec::new(), &stream[..], sizes.iter().cycle());
        while let (false, Some(&size)) = (rest.is_empty(), sizes.next()) {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            carry.extend_from_slice(piece);
            rest = after;
            let mut at = 0;
            loop {
                match decoder.step(&carry[at..], &mut batch) {
                    Ok(Step::More) => break,
                    Ok(Step::Passed(length)) => at += length,
                    Ok(Step::Row(length)) => (at, rows) = (at + length, rows + 1),
                    Err(error) => {
                        batch.drop_partial_row();
                        return (values(&batch), batch, rows, Some(error.to_string()), false);
                    }
                }
            }
            carry.drain(..at);
        }
        (values(&batch), batch, rows, None, decoder.is_complete() && carry.is_empty())
    };
    let (values, batch, rows, error, complete) = decode(&[stream.len().max(1)]);
    assert_eq!(batch.rows(), rows, "a row is no row of the batch");
    assert!(batch.size() <= growth * stream.len() + LONGEST_NUMERIC, "{} bytes", batch.size());
    assert!(!check_text || is_utf8(&batch), "text is not UTF-8");
    let pieces = decode(&sizes);
    assert_eq!((values, rows, error, complete), (pieces.0, pieces.2, pieces.3, pieces.4), "pieces of {sizes:?}");
}

/// Rows of MySQL's: how many columns, a byte and the declared digits for each, then cells with their lengths in front.
pub fn mysql(mut data: &[u8]) {
    const TYPES: [(&str, &str); 18] = [
        ("varchar", "varchar(9)"),
        ("int", "int"),
        ("bigint", "bigint unsigned"),
        ("year", "year"),
        ("bit", "bit(64)"),
        ("float", "float"),
        ("double", "double"),
        ("decimal", "decimal(12,2)"),
        ("enum", "enum('a')"),
        ("json", "json"),
        ("uuid", "uuid"),
        ("blob", "blob"),
        ("date", "date"),
        ("datetime", "datetime(6)"),
        ("timestamp", "timestamp"),
        ("time", "time(3)"),
        ("point", "point"),
        ("vector", "vector(3)"),
    ];
    let cells: Vec<MysqlCell> = (0..=byte(&mut data) % 8)
        .map(|index| {
            let choice = byte(&mut data);
            let (data_type, column_type) = TYPES[usize::from(choice & 31) % TYPES.len()];
            let digits = byte(&mut data);
            let declared = Declared {
                data_type,
                column_type,
                precision: Some(digits.into()),
                scale: Some(2),
                fraction: Some(digits),
            };
            MysqlCell {
                name: format!("c{index}"),
                read_as: ColumnType::new(declared, digits & 1 != 0),
                sqlite: SQLITE[usize::from(choice >> 6)],
                null_zero_dates: choice & 32 != 0,
            }
        })
        .collect();
    let length = data.len();
    let mut decoder = MysqlDecoder::new(cells.clone());
    let mut batch = Batch::new(cells.len());
    'rows: while !data.is_empty() {
        let mut fits = true;
        for index in 0..cells.len() {
            let length = byte(&mut data);
            let (bytes, rest) = data.split_at(usize::from(length).min(data.len()));
            data = rest;
            let Ok(cell) = decoder.cell(index, (length < 255).then_some(bytes), &mut batch) else {
                batch.drop_partial_row();
                break 'rows;
            };
            fits &= cell;
        }
        if !fits {
            batch.drop_last_row();
        }
    }
    // Two bytes may be a zero date, and the last row may lack even those.
    assert!(batch.size() <= 4 * GROWTH * (length + cells.len()), "{} bytes", batch.size());
    for (index, value) in values(&batch).iter().enumerate() {
        let _ = cells[index % cells.len()].read_as.parameter(value);
    }
}

/// Documents of MongoDB's, one after the other, behind a byte that says which of them are rows.
pub fn bson(mut data: &[u8]) {
    let choice = byte(&mut data);
    let length = data.len();
    let mut documents = Vec::new();
    while let Some(size) = data.first_chunk().and_then(|size| usize::try_from(i32::from_le_bytes(*size)).ok()) {
        let Some((document, rest)) = data.split_at_checked(size) else { break };
        let Ok(document) = RawDocument::from_bytes(document) else { break };
        documents.push(document);
        data = rest;
    }
    let mut shape = Shape::default();
    for document in &documents {
        let _ = shape.learn(document);
    }
    let replica = collection(&shape);
    let class = Class::ALL[usize::from(choice >> 2) % Class::ALL.len()];
    let hidden = match choice & 3 {
        0 => Hidden::Nothing,
        1 => Hidden::WithoutTrack { class: None },
        2 => Hidden::WithoutTrack { class: Some(class) },
        _ => Hidden::Track { class, advances: choice & 128 != 0, now: 0 },
    };
    let mut decoder = Documents::new(&replica, Cells::All, Pin::Json);
    let mut batch = Batch::new(decoder.width(hidden));
    let mut rows = 0;
    for document in documents {
        let mut slots = decoder.slots();
        let Ok(Outcome::Row) = decoder.decode(document, hidden, &mut slots, &mut batch) else { continue };
        let _ = decoder.mark(document, true, &replica.source.key);
        for (at, column) in replica.columns.iter().enumerate() {
            let ReadAs::Field(pin) = ReadAs::of(&replica.source.columns[column.source]) else { continue };
            let Ok(Some(value)) = document.get(&column.name) else { continue };
            if pin.fits(value, true) && check_key(&replica, at, pin).is_ok() {
                comes_back(&batch.value(rows, at), pin, value);
            }
        }
        rows += 1;
    }
    assert_eq!(batch.rows(), rows, "a row is no row of the batch");
    assert!(is_utf8(&batch), "text is not UTF-8");
    // Of a value without bytes, such as `undefined`, JSON makes many, twice: in its column and in the whole document's.
    let columns = batch.width() * rows * size_of::<crate::batch::Cell>();
    assert!(batch.size() <= 8 * GROWTH * length + columns, "{} bytes", batch.size());
    for value in values(&batch) {
        if let Value::Text(text) = value
            && text.starts_with('{')
            && replica.columns.len() == 1
        {
            assert!(is_json(text.as_bytes()), "{text}");
        }
    }
}

/// A copy of all that is known of a collection, tracked by its last field.
fn collection(shape: &Shape) -> Replica {
    let columns = shape.columns(true);
    let map = |column: &crate::schema::Column| crate::mapping::map(&column.kind, &column.type_name, None);
    let copied = columns.iter().enumerate();
    Replica {
        target: "t".to_owned(),
        columns: copied
            .map(|(source, column)| ReplicaColumn {
                source,
                name: column.name.clone(),
                sqlite: map(column).expect("a type of its own"),
            })
            .collect(),
        key: vec![0],
        track: Track::Columns(vec![columns.len().saturating_sub(2)]),
        filter: None,
        soft_delete: false,
        null_zero_dates: false,
        takes_new_columns: true,
        source: Table {
            name: TableName { schema: None, name: "t".to_owned() },
            relation: Relation::Table,
            key: vec![ID.to_owned()],
            columns,
            key_collations: None,
            estimated_rows: None,
            indexes: Vec::new(),
            sees_changes: false,
            grows: true,
            numbered: false,
        },
    }
}

/// Whether the value can be found again by its cell.
fn comes_back(cell: &Value, pin: Pin, value: RawBsonRef<'_>) {
    // Names that extended JSON gives a meaning are none that a key may have, and zeros in front are none of a number's.
    if pin.is_json() {
        return;
    }
    let back = bson_of(cell, pin).unwrap_or_else(|| panic!("{pin:?} can't be read back from {cell:?}"));
    let exact = !matches!(pin, Pin::Int | Pin::Double | Pin::Decimal);
    let value = Bson::try_from(value).expect("a value that was read before");
    assert!(!exact || back == value, "{value:?} came back as {back:?}");
    let lookback = crate::source::Lookback { seconds: 300.0, values: 10_000 };
    if let (Some(class), Some(earlier)) = (Class::of_bson(&value), Class::earlier(&value, lookback)) {
        assert_eq!(Class::of_bson(&earlier), Some(class), "{value:?} is looked back from by {earlier:?}");
    }
}

/// An answer: how wide its rows are, its status, a line for a header, and its body.
fn answer<'a>(header: &'static str, mut data: &'a [u8]) -> (Answer, Batch, &'a [u8]) {
    let width = usize::from(byte(&mut data) % 8) + 1;
    let status = one(&[200, 200, 200, 200, 302, 400, 401, 404, 429, 500, 503], &mut data);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(until(b'\n', &mut data)) {
        headers.insert(header, value);
    }
    (Answer::of(status, headers, data.to_vec()), Batch::new(width), data)
}

/// What has to be so of what was read of an answer.
fn answered(read: Result<(), Fault>, body: &[u8], rows: &Batch) {
    let known = body.len() * GROWTH + 1024;
    assert!(rows.size() <= known, "{} bytes", rows.size());
    match read {
        Ok(()) => {
            values(rows);
            assert!(is_utf8(rows), "text is not UTF-8");
            if rows.width() == catalog::DESCRIBED_WIDTH
                && let Some((table, _)) = catalog::table("t", rows)
            {
                let is_column = |name: &String| table.columns.iter().any(|column| column.name == *name);
                assert!(table.key.iter().all(is_column), "the key {:?} is of no column", table.key);
            }
        }
        Err(fault) => {
            // It goes into the log, and into the target's state.
            let told = format!("{fault:?}");
            assert!(told.len() < 2_000, "{} bytes of words", told.len());
            // A server's complaint is told in its own words, a row never.
            let is_ours = ["libSQL", "D1", "StarbaseDB"]
                .iter()
                .any(|system| told.starts_with(&format!("Refused(\"{system} answered rows of another form")));
            assert!(!(is_ours && told.contains(SECRET)), "{told}");
        }
    }
}

fn peer() -> Peer {
    Peer { host: "localhost".to_owned(), port: Some(80), user: String::new() }
}

/// An answer of a libSQL server's.
pub fn hrana(data: &[u8]) {
    let (answer, mut rows, body) = answer("retry-after", data);
    let read = hrana_source::read(&answer, &peer(), &mut rows);
    answered(read, body, &rows);
}

/// An answer of Cloudflare D1's.
pub fn d1(data: &[u8]) {
    let (answer, mut rows, body) = answer("ratelimit", data);
    let _ = d1_source::spent_until(&answer);
    let read = d1_source::read(&answer, &peer(), &mut rows);
    answered(read, body, &rows);
}

/// An answer of a StarbaseDB's.
pub fn starbasedb(data: &[u8]) {
    let (answer, mut rows, body) = answer("retry-after", data);
    let read = starbasedb_source::read(&answer, &peer(), &mut rows);
    answered(read, body, &rows);
}

/// A wrangler file and a `.dev.vars`, with a NUL between them, behind a byte that says what kind of file it is.
pub fn wrangler(mut data: &[u8]) {
    let choice = byte(&mut data);
    let name = ["wrangler.toml", "wrangler.json", "wrangler.jsonc"][usize::from(choice & 127) % 3];
    let environment = (choice & 128 != 0).then_some("production");
    let [text, dev_vars] = [until(0, &mut data), data].map(String::from_utf8_lossy);
    match config::source_of(name, &text, &dev_vars, environment) {
        Ok(resolved) => {
            let _ = (resolved.source.describe(), resolved.source.fingerprint(), format!("{resolved:?}"));
        }
        Err(error) => {
            let told = error.to_string();
            // The names of environments are told, and nothing else of a file.
            assert!(!told.contains(SECRET) || told.contains("Option 'environment' got"), "{told}");
        }
    }
}

/// The options as JSON.
pub fn options(data: &[u8]) {
    fn is_name(secret: &str, value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(list) => list.iter().any(|item| is_name(secret, item)),
            serde_json::Value::Object(map) => {
                map.iter().any(|(name, value)| name.contains(secret) || is_name(secret, value))
            }
            _ => false,
        }
    }
    let Ok(value) = serde_json::from_slice(data) else { return };
    match Options::parse(&value) {
        Ok(options) => {
            let _ = format!("{options:?}");
            if let Some(source) = &options.source {
                let _ = (source.describe(), source.fingerprint());
            }
        }
        // An option that isn't known is called by its name.
        Err(error) => assert!(!error.message.contains(SECRET) || is_name(SECRET, &value), "{}", error.message),
    }
}

/// How numbers, times and texts are spelled and read, one of them chosen by the first byte.
pub fn forms(mut data: &[u8]) {
    match byte(&mut data) % 8 {
        0 => grouped(data),
        1 => {
            let digits = data;
            if let Some(value) = decimal::integer_of_text(digits) {
                assert_eq!(value.to_string().as_bytes(), digits);
            }
            assert!(decimal::real_of_text(digits).is_none_or(f64::is_finite));
            for sqlite in SQLITE {
                let mut batch = Batch::new(1);
                form::push_cell(Scalar::Digits(digits), sqlite, &mut batch, &mut Vec::new());
                assert_eq!(batch.rows(), 1);
            }
        }
        2 => floats(data),
        3 => instants(data),
        4 => {
            let text = String::from_utf8_lossy(data);
            let _ = date::parse_instant(&text);
            for earlier in [text_time::earlier(&text, 300.0), uuid7::earlier(&text, 300.0)].into_iter().flatten() {
                assert!(*earlier <= *text, "{text} is looked back from by {earlier}");
            }
        }
        5 => {
            let Ok(value) = parse::parse(&String::from_utf8_lossy(data)) else { return };
            let Ok(document) = RawDocumentBuf::try_from(&doc! { "v": value }) else { return };
            let (mut text, value) = (Vec::new(), document.get("v").expect("BSON"));
            json::push_json(&mut text, value.expect("a value")).expect("no deeper than it was read");
            assert!(is_json(&text), "{}", String::from_utf8_lossy(&text));
        }
        6 => {
            let (mut json, text) = (Vec::new(), String::from_utf8_lossy(data));
            form::push_json_string(text.as_bytes(), &mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).expect("JSON"), *text);
        }
        _ => {
            let (negative, mut span) = (byte(&mut data) & 1 != 0, Vec::new());
            let number = data.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            time::push_span(&mut span, negative, number, 6);
            let text = String::from_utf8(span).expect("ASCII");
            let parts: Vec<u64> =
                text.trim_start_matches('-').split([':', '.']).map(|part| part.parse().expect("digits")).collect();
            let [hours, minutes, seconds, micros] = parts[..] else { panic!("{text}") };
            assert_eq!(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros, number, "{text}");
        }
    }
}

/// A decimal number of PostgreSQL's: it is the same in digits, as an integer and as a double.
fn grouped(mut data: &[u8]) {
    let flags = byte(&mut data);
    // Of the size of a double's, most of them.
    let weight = if flags & 2 == 0 { i16::from(byte(&mut data).cast_signed()) } else { i16::MAX };
    let groups: Vec<u8> =
        data.chunks_exact(2).flat_map(|pair| (u16::from_be_bytes([pair[0], pair[1]]) % 10_000).to_be_bytes()).collect();
    // A number has no digits behind those that it says to have.
    let behind = i64::try_from(groups.len() / 2).unwrap_or(0) - 1 - i64::from(weight);
    let scale = u16::try_from(behind.max(0) * 4).unwrap_or(0);
    let Some(number) = Grouped::new(flags & 1 != 0, weight, scale, &groups) else { panic!("groups below 10,000") };
    let mut text = Vec::new();
    number.push(&mut text);
    let text = String::from_utf8(text).expect("ASCII");
    if i64::from(scale) == behind.max(0) * 4 {
        let nearest: f64 = text.parse().expect("a number");
        assert_eq!(number.real(&mut Vec::new()).to_bits(), nearest.to_bits(), "{text}");
    }
    if let Some(integer) = number.integer() {
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        assert_eq!(whole.parse(), Ok(integer), "{text}");
        assert!(fraction.bytes().all(|digit| digit == b'0'), "{text}");
    }
}

fn floats(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<8>() else { return };
    let (double, single) = (f64::from_le_bytes(*bytes), f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let text = |shortest: decimal::Shortest| {
        let mut out = Vec::new();
        decimal::push_shortest(&mut out, shortest);
        String::from_utf8(out).expect("ASCII")
    };
    if double.is_finite() {
        assert_eq!(text(double.into()).parse::<f64>().expect("a number").to_bits(), double.to_bits());
    }
    if single.is_finite() {
        let digits = text(single.into());
        assert_eq!(digits.parse::<f32>().expect("a number").to_bits(), single.to_bits());
        let wide = decimal::widen(single, &mut Vec::new());
        assert_eq!(wide.to_bits(), digits.parse::<f64>().expect("a number").to_bits());
    }
}

fn instants(data: &[u8]) {
    let Some(bytes) = data.first_chunk() else { return };
    let number = i64::from_le_bytes(*bytes);
    let mut text = Vec::new();
    date::push_instant(&mut text, number);
    let text = String::from_utf8(text).expect("ASCII");
    assert_eq!(date::parse_instant(&text), Some(number), "{text}");
    if (0..253_402_300_800_000).contains(&number) {
        let read = DateTime::parse_rfc3339_str(&text).expect("a time");
        assert_eq!(read.timestamp_millis(), number, "{text}");
    }
    let digits = data.get(8).copied().unwrap_or(6) % 7;
    let micros = number.rem_euclid(time::MICROS_PER_DAY);
    let mut text = Vec::new();
    time::push_timestamp(&mut text, number.div_euclid(time::MICROS_PER_DAY), micros, digits, true);
    assert_eq!(String::from_utf8(text).expect("ASCII"), time::instant_text(number, digits));
}
