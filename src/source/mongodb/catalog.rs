//! What the server says of a collection, and what a look at its documents shows.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::Hint;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use mongodb::{Collection, Database};
use tokio::time::timeout;

use super::shape::{ID, Shape};
use super::{MongodbSource, command, documents, error};
use crate::error::Result;

/// A server that takes longer for its first documents is not asked how many there are: it may have to look at them all.
const SLOW: Duration = Duration::from_millis(500);

/// How long the server may count for an estimate.
const COUNT_MILLIS: i64 = 2_000;

/// The documents that a command's answer holds.
pub fn first_batch(answer: &Document) -> Vec<&Document> {
    let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    batch.map(|batch| batch.iter().filter_map(Bson::as_document).collect()).unwrap_or_default()
}

/// The name of a collection with documents of its own that are the user's.
pub fn collection_name(listed: &RawDocument) -> Option<String> {
    let name = listed.get_str("name").ok()?;
    let is_view = listed.get_str("type").is_ok_and(|kind| kind == "view");
    (!is_view && !name.starts_with("system.")).then(|| name.to_owned())
}

/// The first answer of the cursor that goes through a whole collection, and the cursor.
pub struct Ahead {
    /// The documents.
    pub answer: RawBatch,
    /// What goes on behind them.
    pub cursor: RawBatchCursor,
}

impl MongodbSource {
    /// Learns of fields from the first documents. What they don't show is learnt when it is read. Gives what was read, for
    /// the pass that reads everything, and whether the server was quick to answer.
    pub(super) async fn sample(
        &mut self,
        database: &Database,
        name: &str,
        by_id: bool,
        shape: &mut Shape,
    ) -> Result<(Option<Ahead>, bool)> {
        let began = Instant::now();
        let collection: Collection<RawDocumentBuf> = database.collection(name);
        let mut find = collection.find(doc! {}).batch_size(self.answer);
        if by_id {
            find = find.sort(doc! { ID: 1 }).hint(Hint::Keys(doc! { ID: 1 }));
        }
        let mut cursor = self.ask(None, find.batch()).await?;
        let Some(answer) = self.next(None, &mut cursor).await? else { return Ok((None, true)) };
        for document in documents(&answer).map_err(|fault| self.failed(None, &fault))? {
            // A document that can't be read is the scan's to complain of.
            let _ = shape.learn(document?);
        }
        Ok((by_id.then_some(Ahead { answer, cursor }), began.elapsed() < SLOW))
    }

    /// How many documents there are, when the server says it soon.
    pub(super) async fn count(
        &self,
        database: &Database,
        name: &str,
        condition: Option<Document>,
    ) -> Result<Option<u64>> {
        let mut question = doc! { "count": name, "maxTimeMS": COUNT_MILLIS };
        if let Some(condition) = condition.filter(|condition| !condition.is_empty()) {
            question.insert("query", condition);
        }
        let counted = timeout(self.limits.query, command(database, question)).await;
        let Ok(answer) = counted.map_err(|_| self.reading(None).timeout(self.limits.query))? else { return Ok(None) };
        Ok(match answer.get("n") {
            Some(Bson::Int32(count)) => u64::try_from(*count).ok(),
            Some(Bson::Int64(count)) => u64::try_from(*count).ok(),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
            Some(Bson::Double(count)) => Some(*count as u64),
            _ => None,
        })
    }

    /// The fields of each index that holds every document.
    pub(super) async fn indexes(&self, database: &Database, name: &str) -> Result<Vec<Vec<String>>> {
        let answer = match timeout(self.limits.query, command(database, doc! { "listIndexes": name })).await {
            Ok(Ok(answer)) => answer,
            // Reading needs no right to see them, and what they are only decides a hint.
            Ok(Err(fault)) if error::is_unknown_collection(&fault) || !error::is_cut(&fault) => return Ok(Vec::new()),
            Ok(Err(fault)) => return Err(self.failed(None, &fault)),
            Err(_) => return Err(self.reading(None).timeout(self.limits.query)),
        };
        let whole = |index: &&Document| {
            !["partialFilterExpression", "sparse", "hidden"].iter().any(|limit| index.contains_key(limit))
        };
        let fields = |index: &Document| {
            let key = index.get_document("key").ok()?;
            let is_ordered = key.values().all(|kind| kind.as_str().is_none());
            is_ordered.then(|| key.keys().cloned().collect())
        };
        Ok(first_batch(&answer).into_iter().filter(whole).filter_map(fields).collect())
    }
}
