//! One pass over documents: from a cursor into batches, with the cursor opened again where it was lost.

use futures_util::StreamExt as _;
use mongodb::bson::{Bson, RawDocument};
use mongodb::raw_batch_cursor::RawBatch;
use tokio::time::timeout;

use super::catalog::Ahead;
use super::query::{Query, Step};
use super::rows::{Cells, Decoder, Outcome};
use super::shape::Shape;
use super::{MongodbSource, documents, error};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::replica::Replica;
use crate::schema::KnownColumn;
use crate::source::BatchSink;

/// Documents in one answer of the server's, which also ends at 16 MB.
pub const ANSWER: u32 = 2_000;

/// The fewest documents that an answer is made of where connections break before larger ones are complete.
const LEAST_ANSWER: u32 = 25;

/// Cursors that may be lost one after the other without a row between them.
const MOST_LOST: u32 = 3;

/// How far a pass is.
struct Pass<'a> {
    replica: &'a Replica,
    step: &'a Step,
    decoder: Decoder<'a>,
    /// Where rows go that nobody takes.
    spare: Batch,
    /// What the last row is ordered by.
    mark: Option<Vec<Bson>>,
    /// Cursors lost since the last row.
    lost: u32,
    /// Whether a document had no place in the table. What came before is good.
    outgrown: bool,
    /// Whether a field's type is another one, so that the table is to be built anew: then the rest is read for its fields
    /// alone, to build it but once. New fields cost so little that they are not looked for, except where the next pass would
    /// search from the beginning.
    widened: bool,
}

impl MongodbSource {
    /// Reads the documents of `step` into `sink`; without one, only looks whether they have a place in the table.
    pub(super) async fn pass(
        &mut self,
        replica: &Replica,
        query: &Query<'_>,
        step: &Step,
        cells: Cells,
        mut sink: Option<&mut BatchSink>,
    ) -> Result<()> {
        let collection = self.collection(replica)?;
        let limit = self.limits.query;
        let decoder = Decoder::new(replica, cells, query.track_pin);
        let spare = Batch::new(decoder.width(step.hidden));
        let widened = step.is_search;
        let mut pass = Pass { replica, step, decoder, spare, mark: None, lost: 0, outgrown: false, widened };
        let is_everything = query.is_everything(step, cells, self.now(replica)?);
        // What was read for the pass over everything is kept until then.
        let ahead = if step.is_search { None } else { std::mem::take(&mut self.ahead).into_inner().ok().flatten() };
        let ahead = ahead.filter(|(name, _)| is_everything && *name == replica.source.name.name);
        let mut begun = ahead.map(|(_, ahead)| ahead);
        'cursor: loop {
            let (mut cursor, mut next) = if let Some(Ahead { answer, cursor }) = begun.take() {
                (cursor, Ok(Some(Ok(answer))))
            } else {
                let opened = query.open(&collection, step, cells, pass.mark.as_deref(), self.answer, limit);
                let mut cursor = match timeout(limit, opened).await {
                    Ok(Ok(cursor)) => cursor,
                    Ok(Err(fault)) => return Err(self.broken(replica, &fault)),
                    Err(_) => return Err(self.silent(replica)),
                };
                let next = timeout(limit, cursor.next()).await;
                (cursor, next)
            };
            loop {
                let batch = match next {
                    Ok(None) => break 'cursor,
                    Ok(Some(Ok(batch))) => batch,
                    Ok(Some(Err(fault)))
                        if error::is_lost_cursor(&fault) && step.has_order() && pass.lost < MOST_LOST =>
                    {
                        pass.lost += 1;
                        continue 'cursor;
                    }
                    Ok(Some(Err(fault))) => return Err(self.broken(replica, &fault)),
                    Err(_) => return Err(self.silent(replica)),
                };
                // The server looks for the next documents while these are taken.
                let (following, taken) =
                    tokio::join!(timeout(limit, cursor.next()), self.take(&mut pass, &batch, sink.as_deref_mut()));
                taken?;
                let full = || self.shapes.get(&replica.source.name.name).is_some_and(Shape::is_full);
                if pass.outgrown && (!pass.widened || full()) {
                    break 'cursor;
                }
                next = following;
            }
        }
        self.answer = (self.answer * 2).min(ANSWER);
        if pass.outgrown { Err(Error::reshaped(&replica.target)) } else { Ok(()) }
    }

    /// Takes the documents of one answer.
    async fn take(&mut self, pass: &mut Pass<'_>, batch: &RawBatch, mut sink: Option<&mut BatchSink>) -> Result<()> {
        let replica = pass.replica;
        let mut slots = pass.decoder.slots();
        let mut last = None;
        for document in documents(batch).map_err(|fault| self.failed(Some(replica), &fault))? {
            let document = document.map_err(|error| error.in_table(&replica.target))?;
            if pass.outgrown {
                pass.widened |= self.learn(replica, document);
                continue;
            }
            let rows = if let Some(sink) = &mut sink {
                sink.batch()
            } else {
                pass.spare.reset(pass.spare.width());
                &mut pass.spare
            };
            match pass.decoder.decode(document, pass.step.hidden, &mut slots, rows)? {
                Outcome::Skipped => {}
                Outcome::Row => {
                    last = Some(document);
                    if let Some(sink) = &mut sink {
                        sink.row_done().await?;
                    }
                }
                Outcome::Misfit => {
                    pass.outgrown = true;
                    if let Some(sink) = &mut sink {
                        sink.flush().await?;
                    }
                    pass.widened |= self.learn(replica, document);
                }
            }
        }
        if let Some(document) = last {
            pass.lost = 0;
            let mark = pass.decoder.mark(document, pass.step.by_track, &pass.step.ties);
            let mark = mark.map_err(|_| self.reading(Some(replica)).because("a document's key can't be read"))?;
            pass.mark = Some(mark);
        }
        Ok(())
    }

    /// Learns of a document's fields, and says whether one's type is another now; a document that can't be read is
    /// complained of where it is read.
    pub(super) fn learn(&mut self, replica: &Replica, document: &RawDocument) -> bool {
        let name = replica.source.name.name.clone();
        let shape = self.shapes.entry(name).or_insert_with(|| {
            let known = replica.source.columns.iter();
            let known: Vec<_> = known
                .map(|column| KnownColumn { name: column.name.clone(), declared: column.declared.clone() })
                .collect();
            let mut shape = Shape::default();
            shape.recall(&known);
            shape
        });
        shape.learn(document).unwrap_or(false)
    }

    /// Reading failed; after a broken connection the next answers are smaller.
    fn broken(&mut self, replica: &Replica, fault: &mongodb::error::Error) -> Error {
        if error::is_cut(fault) {
            self.answer = (self.answer / 4).max(LEAST_ANSWER);
        }
        self.failed(Some(replica), fault)
    }

    /// The server was silent for too long, which smaller answers may mend.
    fn silent(&mut self, replica: &Replica) -> Error {
        self.answer = (self.answer / 4).max(LEAST_ANSWER);
        self.reading(Some(replica)).timeout(self.limits.query)
    }
}
