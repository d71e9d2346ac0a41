//! A deployed StarbaseDB as the target: SQLite in a Durable Object of workerd, behind a Worker that answers as StarbaseDB does.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::sqlite_bed::Place;
use super::world::query;

/// A StarbaseDB of a test's own, and the file that its rows are in.
pub struct Deployed {
    /// The instance.
    pub place: Place,
    /// What its Durable Object keeps its rows in, to be looked at beside it.
    pub file: PathBuf,
}

impl Deployed {
    /// A new one.
    pub async fn new() -> Self {
        let place = Place::starbasedb();
        let file = place.file_below().await;
        Self { place, file }
    }

    /// The option `target` that reaches it.
    pub fn target(&self) -> Value {
        let source = self.place.source();
        json!({ "type": "starbasedb", "url": source["uri"], "token": source["token"] })
    }

    /// Takes everything out of it.
    pub async fn clear(&self) {
        self.place.clone().drop_all().await;
    }

    /// Panics when a run left anything that would be in its user's way.
    pub fn assert_left_alone(&self) {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'view' OR name LIKE 'tmp_data_sync_new_%'";
        assert_eq!(query(&self.file, sql), Vec::<Vec<Option<String>>>::new(), "nothing of ours stays between runs");
    }
}
