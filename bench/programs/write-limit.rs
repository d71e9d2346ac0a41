//! `write-limit SOURCE.sqlite OUT.sqlite`: how long SQLite takes to be given the rows of the table `events`, and nothing
//! else. They come from a finished copy and are in memory before the clock starts; the new file has the copy's page size and
//! table, a write-ahead log, `synchronous = NORMAL`, and a transaction for every 1,000 rows.
//!
//! Prints the seconds, and those of user and system time, as JSON.

use std::{env, error::Error, fs, time::Instant};

use rusqlite::{
    Connection,
    types::{ToSqlOutput, Value, ValueRef},
};

/// Rows in a transaction.
const BATCH: usize = 1000;

/// A value, or where in the arena its bytes are.
#[derive(Clone, Copy)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(usize, usize),
    Blob(usize, usize),
}

/// A table in memory, row after row.
struct Table {
    page_size: i64,
    create: String,
    width: usize,
    cells: Vec<Cell>,
    arena: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = env::args().skip(1);
    let (Some(source), Some(out)) = (files.next(), files.next()) else {
        return Err("usage: write-limit SOURCE.sqlite OUT.sqlite".into());
    };
    let table = read(&source)?;
    let (begin, before) = (Instant::now(), cpu_seconds());
    write(&table, &out)?;
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - before);
    println!("{{\"wall\": {wall:.4}, \"cpu\": {cpu:.2}}}");
    Ok(())
}

fn read(file: &str) -> rusqlite::Result<Table> {
    let db = Connection::open(file)?;
    let page_size = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let create = db.query_row("SELECT sql FROM sqlite_schema WHERE name = 'events'", [], |row| row.get(0))?;
    let keys = "SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info('events') WHERE pk > 0 ORDER BY pk)";
    let key: Option<String> = db.query_row(keys, [], |row| row.get(0))?;
    let mut select = db.prepare(&format!("SELECT * FROM events ORDER BY {}", key.as_deref().unwrap_or("rowid")))?;
    let width = select.column_count();
    let (mut cells, mut arena) = (Vec::new(), Vec::new());
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0..width {
            let at = arena.len();
            cells.push(match row.get_ref(column)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(value) => Cell::Integer(value),
                ValueRef::Real(value) => Cell::Real(value),
                ValueRef::Text(bytes) => {
                    arena.extend_from_slice(bytes);
                    Cell::Text(at, arena.len())
                }
                ValueRef::Blob(bytes) => {
                    arena.extend_from_slice(bytes);
                    Cell::Blob(at, arena.len())
                }
            });
        }
    }
    Ok(Table { page_size, create, width, cells, arena })
}

fn write(table: &Table, file: &str) -> rusqlite::Result<()> {
    let mut db = Connection::open(file)?;
    db.pragma_update(None, "page_size", table.page_size)?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    db.execute_batch(&table.create)?;
    let insert = format!("INSERT INTO events VALUES ({})", vec!["?"; table.width].join(", "));
    for batch in table.cells.chunks(table.width * BATCH) {
        let transaction = db.transaction()?;
        let mut statement = transaction.prepare_cached(&insert)?;
        for row in batch.chunks(table.width) {
            for (index, &cell) in row.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, bound(cell, &table.arena))?;
            }
            statement.raw_execute()?;
        }
        drop(statement);
        transaction.commit()?;
    }
    Ok(())
}

fn bound(cell: Cell, arena: &[u8]) -> ToSqlOutput<'_> {
    match cell {
        Cell::Null => ToSqlOutput::Owned(Value::Null),
        Cell::Integer(value) => ToSqlOutput::Owned(Value::Integer(value)),
        Cell::Real(value) => ToSqlOutput::Owned(Value::Real(value)),
        Cell::Text(from, to) => ToSqlOutput::Borrowed(ValueRef::Text(&arena[from..to])),
        Cell::Blob(from, to) => ToSqlOutput::Borrowed(ValueRef::Blob(&arena[from..to])),
    }
}

/// The user and system time of this process, where Linux tells it: in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the program's name, may hold spaces; user and system time are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
