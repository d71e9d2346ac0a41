//! Which rows there is no room for, found before a table is read: how much JSON each makes is seen by making it.

use super::encode::{MOST, MOST_OF_A_BLOB, limit, megabytes, write};
use crate::batch::{Batch, Cell};
use crate::error::Result;
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::target::Measure;

/// The bytes of JSON that one byte of a value may take: a control character in a document takes seven. Only what a document
/// says in a word, such as an empty regular expression of MongoDB, takes more.
const LONGEST_FORM: usize = 8;

/// Values and rows that there is no room for.
#[derive(Default)]
pub(super) struct Oversized {
    /// Of each column.
    columns: Vec<Found>,
    /// Of rows whose values have room only each by itself.
    rows: Found,
    /// Whether one of the values is a blob.
    blobs: bool,
    json: Vec<u8>,
}

/// How many of a kind were found.
#[derive(Debug, Clone, Default)]
struct Found {
    count: u64,
    largest: usize,
}

impl Found {
    fn add(&mut self, size: usize) {
        self.count += 1;
        self.largest = self.largest.max(size);
    }

    fn told(&self, noun: &str) -> String {
        let plural = if self.count == 1 { "" } else { "s" };
        format!("{} {noun}{plural} of up to {}", self.count, megabytes(self.largest))
    }
}

impl Measure for Oversized {
    fn small(&self) -> u64 {
        (MOST / LONGEST_FORM) as u64
    }

    fn look(&mut self, replica: &Replica, batch: &Batch) {
        let width = replica.columns.len();
        self.columns.resize(width, Found::default());
        for row in 0..batch.rows() {
            let (mut whole, mut fits) = (2 + width, true);
            for (column, cell) in batch.row(row)[..width].iter().enumerate() {
                self.json.clear();
                write(batch.resolve(*cell), replica.columns[column].sqlite == SqliteType::Blob, &mut self.json);
                whole += self.json.len();
                if self.json.len() > MOST {
                    fits = false;
                    self.columns[column].add(self.json.len());
                    self.blobs |= matches!(cell, Cell::Blob { .. });
                }
            }
            if fits && whole > MOST {
                self.rows.add(whole);
            }
        }
    }

    fn end(&self, replica: &Replica) -> Result<()> {
        let found = self.columns.iter().enumerate().filter(|(_, found)| found.count > 0);
        let mut said: Vec<String> = found
            .map(|(column, found)| {
                let name = &replica.columns[column].name;
                format!("{} in column '{name}'", found.told("value"))
            })
            .collect();
        if self.rows.count > 0 {
            said.push(self.rows.told("row"));
        }
        if said.is_empty() {
            return Ok(());
        }
        let most = if self.blobs { MOST_OF_A_BLOB } else { "2 MB" };
        Err(limit(replica, &format!("as JSON, it has {}", said.join(", ")), most))
    }
}
