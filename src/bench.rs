//! The hot paths by themselves, for bench/hot-paths to count and to time: without a server, a network and the engine.
//!
//! Their rows are those of bench/sources/postgresql.sql: the table `events`.

use std::path::Path;
use std::sync::Arc;

use ::mongodb::bson::RawDocument;
use serde_json::value::RawValue;

use crate::batch::Batch;
use crate::event::Mode;
use crate::mapping::SqliteType::{self, Integer, Real, Text};
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{Column, Relation, SourceType, Table, TableName};
use crate::source::mongodb::kind::Pin;
use crate::source::mongodb::rows::{Cells, Decoder as Documents, Hidden};
use crate::source::mongodb::shape::Shape;
use crate::source::postgres::copy::{Cell, Decoder, Step};
use crate::source::postgres::wire::Wire;
use crate::source::sqlite::{rows, value};
use crate::target::sqlite::SqliteTarget;
use crate::target::sqlite::feed::{self, Feed};
use crate::target::{Changes, Ddl, TablePhase, TableState, Target, Write};

/// Rows of a batch, as where nobody says otherwise.
pub const BATCH_ROWS: usize = 1000;

/// Columns of the table.
pub const WIDTH: usize = 11;

const COLUMNS: [(&str, Wire, SqliteType); WIDTH] = [
    ("id", Wire::Int8, Integer),
    ("quantity", Wire::Int4, Integer),
    ("title", Wire::Text, Text),
    ("body", Wire::Text, Text),
    ("price", Wire::Numeric, Real),
    ("active", Wire::Bool, Integer),
    ("details", Wire::Jsonb, Text),
    ("reference", Wire::Uuid, Text),
    ("note", Wire::Text, Text),
    ("created_at", Wire::TimestampTz { digits: 6 }, Text),
    ("updated_at", Wire::TimestampTz { digits: 6 }, Text),
];

/// Decodes what PostgreSQL answers to `COPY … (FORMAT binary)`; `full` sees each batch, whose buffers are then used again.
pub fn postgresql(stream: &[u8], mut full: impl FnMut(&mut Batch)) {
    let cells = COLUMNS.map(|(name, wire, sqlite)| Cell { name: name.to_owned(), wire, sqlite });
    let mut decoder = Decoder::new(cells.to_vec(), false);
    let mut batch = Batch::new(WIDTH);
    let mut at = 0;
    loop {
        match decoder.step(&stream[at..], &mut batch).expect("the stream is PostgreSQL's") {
            Step::More => break,
            Step::Passed(length) => at += length,
            Step::Row(length) => {
                at += length;
                pass_on(&mut batch, BATCH_ROWS, &mut full);
            }
        }
    }
    pass_on(&mut batch, 1, &mut full);
}

/// Decodes documents of BSON that follow each other, the first of which has all the fields; `full` as above.
pub fn mongodb(mut documents: &[u8], mut full: impl FnMut(&mut Batch)) {
    let mut next = move || {
        let length = documents.first_chunk().map(|length| i32::from_le_bytes(*length))?;
        let (document, rest) = documents.split_at(usize::try_from(length).ok()?);
        documents = rest;
        Some(RawDocument::from_bytes(document).expect("a document of BSON"))
    };
    let mut document = next();
    let mut shape = Shape::default();
    if let Some(document) = document {
        shape.learn(document).expect("a document of BSON");
    }
    // The last column is the whole document, which is copied on request.
    let mut columns = shape.columns(true);
    columns.pop();
    let sqlite = columns.iter().map(|column| crate::mapping::map(&column.kind, &column.type_name, None));
    let sqlite: Vec<_> = sqlite.map(|sqlite| sqlite.expect("a type of its own")).collect();
    let replica = replica(columns, &sqlite);
    let mut decoder = Documents::new(&replica, Cells::All, Pin::Date);
    let mut slots = decoder.slots();
    let mut batch = Batch::new(decoder.width(Hidden::Nothing));
    while let Some(one) = document {
        decoder.decode(one, Hidden::Nothing, &mut slots, &mut batch).expect("a document that fits");
        pass_on(&mut batch, BATCH_ROWS, &mut full);
        document = next();
    }
    pass_on(&mut batch, 1, &mut full);
}

/// Decodes the rows in answers of Cloudflare D1 and StarbaseDB, each of which is a batch; `full` as above.
pub fn json<'a>(pages: impl IntoIterator<Item = &'a [u8]>, mut full: impl FnMut(&mut Batch)) {
    let mut batch = Batch::new(WIDTH);
    for page in pages {
        let answer: &RawValue = serde_json::from_slice(page).expect("JSON");
        assert!(rows::read::<value::Tagged>(answer, &mut batch, "D1").is_ok(), "rows as they are asked for");
        pass_on(&mut batch, 1, &mut full);
    }
}

/// Passes a batch on when it has so many rows.
fn pass_on(batch: &mut Batch, rows: usize, full: &mut impl FnMut(&mut Batch)) {
    let width = batch.width();
    if batch.rows() >= rows {
        full(batch);
        batch.reset(width);
    }
}

/// Hands every value of rows of PostgreSQL's over to SQLite, which does nothing with them.
pub fn bind(mut batches: Vec<Batch>) {
    let mut run = || {
        let conn = rusqlite::Connection::open_in_memory()?;
        let sql = format!("SELECT {} FROM {}", feed::columns(0..WIDTH), feed::NAME);
        Feed::new(&conn)?.serve(&mut batches, || {
            let mut select = conn.prepare(&sql)?;
            let mut rows = select.raw_query();
            while rows.next()?.is_some() {}
            Ok::<_, rusqlite::Error>(())
        })
    };
    run().expect("SQLite reads the batches");
}

/// Writes rows of PostgreSQL's into a new file at `path`, a transaction for each of `loads`.
pub fn write(path: &Path, write: Write, loads: impl IntoIterator<Item = Vec<Batch>>) -> Changes {
    let columns = COLUMNS.map(|(name, ..)| Column {
        name: name.to_owned(),
        declared: name.to_owned(),
        type_name: name.to_owned(),
        kind: SourceType::Opaque { known: true },
        nullable: name == "note",
        on_request: false,
        expression: None,
    });
    let replica = Arc::new(replica(columns.to_vec(), &COLUMNS.map(|(.., sqlite)| sqlite)));
    let state = state(&replica);
    let run = async {
        let target = SqliteTarget::new(path.to_owned());
        target.prepare(&replica, &[Ddl::Create], &state).await?;
        if write == Write::Aside {
            target.begin_aside(&replica).await?;
        }
        let mut changes = Changes::default();
        for batches in loads {
            changes += target.write(&replica, write, false, batches, &state).await?.0;
        }
        target.close().await;
        Ok::<_, crate::error::Error>(changes)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run).expect("SQLite takes the rows")
}

/// A copy of all `columns`, with the first as key, tracked by the last.
fn replica(columns: Vec<Column>, sqlite: &[SqliteType]) -> Replica {
    let copied = columns.iter().zip(sqlite).enumerate();
    Replica {
        target: "events".to_owned(),
        columns: copied
            .map(|(source, (column, &sqlite))| ReplicaColumn { source, name: column.name.clone(), sqlite })
            .collect(),
        key: vec![0],
        track: Track::Columns(vec![columns.len() - 1]),
        filter: None,
        soft_delete: false,
        null_zero_dates: false,
        takes_new_columns: true,
        source: Table {
            name: TableName { schema: None, name: "events".to_owned() },
            relation: Relation::Table,
            key: vec![columns[0].name.clone()],
            columns,
            key_collations: None,
            estimated_rows: None,
            indexes: Vec::new(),
            sees_changes: false,
            grows: false,
            numbered: false,
        },
    }
}

fn state(replica: &Replica) -> TableState {
    let (source, target) = (replica.source.name.to_string(), replica.target.clone());
    let state = TableState::new(source, target, Mode::Incremental, TablePhase::Incremental);
    TableState { key: replica.source.key.clone(), ..state }
}
