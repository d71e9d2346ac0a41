//! The bounded way from a source to the engine: full batches one way, empty ones back.

use tokio::sync::mpsc;

use crate::batch::Batch;
use crate::error::{Error, Kind, Result};

/// A batch is sent when its rows take this much memory, however few they are.
const BATCH_BYTES: usize = 4 << 20;

/// Batches on their way. With the one being filled and as many being written it bounds a table's memory. Those that have
/// gathered while the last ones were written go into one transaction, so neither side waits for the other batch by batch.
const IN_FLIGHT: usize = 4;

/// Where a source puts rows.
pub struct BatchSink {
    full: mpsc::Sender<Batch>,
    spare: mpsc::Receiver<Batch>,
    batch: Batch,
    limit: usize,
}

/// Where the engine takes batches.
pub struct Incoming {
    full: mpsc::Receiver<Batch>,
    spare: mpsc::Sender<Batch>,
}

/// A connected pair; batches hold at most `limit` rows of `width` cells.
pub fn channel(width: usize, limit: usize) -> (BatchSink, Incoming) {
    let (full, incoming) = mpsc::channel(IN_FLIGHT);
    let (spare, recycled) = mpsc::channel(2 * IN_FLIGHT);
    let sink = BatchSink { full, spare: recycled, batch: Batch::new(width), limit };
    (sink, Incoming { full: incoming, spare })
}

impl BatchSink {
    /// The batch being filled. After each row, call [`row_done`](Self::row_done).
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Whether the batch is full, so that [`flush`](Self::flush) is due.
    pub fn is_full(&self) -> bool {
        self.batch.rows() >= self.limit || self.batch.size() >= BATCH_BYTES
    }

    /// Sends the batch if it is full; waits while the engine is behind.
    pub async fn row_done(&mut self) -> Result<()> {
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Sends the batch unless it is empty; waits while the engine is behind. To be called at the end of a scan.
    ///
    /// # Errors
    /// `ABORTED` when nobody takes batches any more.
    pub async fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let width = self.batch.width();
        let mut next = self.spare.try_recv().unwrap_or_default();
        next.reset(width);
        let full = std::mem::replace(&mut self.batch, next);
        self.full.send(full).await.map_err(|_| Error::new(Kind::Aborted, "The read was given up"))
    }
}

impl Incoming {
    /// The next batches, as many as are there; `None` when the source's end of the channel is gone.
    pub async fn next(&mut self) -> Option<Vec<Batch>> {
        let mut batches = Vec::with_capacity(IN_FLIGHT);
        let count = self.full.recv_many(&mut batches, IN_FLIGHT).await;
        (count > 0).then_some(batches)
    }

    /// Gives the batches' buffers back to the source.
    pub fn recycle(&self, batches: Vec<Batch>) {
        for batch in batches {
            // A full channel only means that there are enough spare buffers.
            let _ = self.spare.try_send(batch);
        }
    }
}
