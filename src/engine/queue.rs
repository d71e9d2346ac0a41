//! Who waits for which run: one run at a time, and at most one that waits, in which all further triggers are merged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind};
use crate::event::{Failure, RunStats};

use super::run::{self, Control};

type Outcome = Result<RunStats, Failure>;

/// The runs of one handle.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// Held while a run is under way.
    busy: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    pending: Option<Pending>,
    current: Option<Arc<Control>>,
    /// How often everything was ended.
    ends: u64,
    /// Whether a task works the queue off.
    worked_off: bool,
}

struct Pending {
    /// `None` for all tables.
    tables: Option<BTreeSet<String>>,
    control: Arc<Control>,
    interested: Arc<AtomicUsize>,
    waiting: Vec<oneshot::Sender<Outcome>>,
}

/// A place in the queue.
pub struct Ticket {
    control: Arc<Control>,
    interested: Arc<AtomicUsize>,
    outcome: oneshot::Receiver<Outcome>,
}

/// A run whose turn has come.
pub struct Turn {
    /// The tables that were asked for; `None` for all.
    pub tables: Option<Vec<String>>,
    /// How it is ended from outside.
    pub control: Arc<Control>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    busy: OwnedMutexGuard<()>,
}

/// The place of a run, taken by something else until this is dropped.
pub struct Place<'a> {
    /// How it is ended from outside.
    pub control: Arc<Control>,
    queue: &'a Queue,
    _busy: OwnedMutexGuard<()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.state().current = None;
    }
}

impl Queue {
    /// Joins the run that waits, or makes one. The second value says whether the caller has to work the queue off.
    pub fn join(&self, tables: Option<Vec<String>>) -> (Ticket, bool) {
        let mut state = self.state();
        let pending = state.pending.get_or_insert_with(|| Pending {
            tables: Some(BTreeSet::new()),
            control: Arc::default(),
            interested: Arc::default(),
            waiting: Vec::new(),
        });
        match (tables, &mut pending.tables) {
            (Some(more), Some(tables)) => tables.extend(more),
            (None, tables) => *tables = None,
            (Some(_), None) => {}
        }
        pending.interested.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = oneshot::channel();
        pending.waiting.push(sender);
        let ticket =
            Ticket { control: Arc::clone(&pending.control), interested: Arc::clone(&pending.interested), outcome };
        let is_first = !std::mem::replace(&mut state.worked_off, true);
        (ticket, is_first)
    }

    /// Waits for the outcome of the run that `ticket` stands for, or until `cancel`.
    pub async fn outcome(&self, mut ticket: Ticket, cancel: &CancellationToken) -> Outcome {
        let closed = || Err(run::failure(&[Error::new(Kind::Closed, "The plugin was stopped")], None));
        tokio::select! {
            biased;
            outcome = &mut ticket.outcome => return outcome.unwrap_or_else(|_| closed()),
            () = cancel.cancelled() => {}
        }
        if self.abandon(&ticket) {
            return Err(run::failure(&[Error::new(Kind::Aborted, "The sync was aborted")], None));
        }
        ticket.outcome.await.unwrap_or_else(|_| closed())
    }

    /// Ends the interest in a run, and the run when nobody else wants it. Whether there is nothing to wait for. In one step, so
    /// that nobody joins a run that is given up.
    fn abandon(&self, ticket: &Ticket) -> bool {
        let mut state = self.state();
        if ticket.interested.fetch_sub(1, Ordering::Relaxed) > 1 {
            return true;
        }
        ticket.control.end(Kind::Aborted);
        state.pending.take_if(|pending| Arc::ptr_eq(&pending.control, &ticket.control)).is_some()
    }

    /// The run that waits; `None` ends the working off.
    pub async fn next(&self) -> Option<Turn> {
        let busy = Arc::clone(&self.busy).lock_owned().await;
        let mut state = self.state();
        let Some(pending) = state.pending.take() else {
            state.worked_off = false;
            return None;
        };
        state.current = Some(Arc::clone(&pending.control));
        Some(Turn {
            tables: pending.tables.map(|tables| tables.into_iter().collect()),
            control: pending.control,
            waiting: pending.waiting,
            busy,
        })
    }

    /// Waits until no run is under way and takes the place of one. `None` when everything was ended meanwhile.
    pub async fn occupy(&self) -> Option<Place<'_>> {
        let ends = self.state().ends;
        let busy = self.idle().await;
        let control = Arc::new(Control::default());
        let mut state = self.state();
        if state.ends != ends {
            return None;
        }
        state.current = Some(Arc::clone(&control));
        drop(state);
        Some(Place { control, queue: self, _busy: busy })
    }

    /// Gives everybody who waited for `turn` its outcome.
    pub fn done(&self, turn: Turn, outcome: &Outcome) {
        self.state().current = None;
        drop(turn.busy);
        for waiting in turn.waiting {
            // Whoever lost interest is not there any more.
            let _ = waiting.send(outcome.clone());
        }
    }

    /// Whether a run is under way.
    pub fn is_running(&self) -> bool {
        self.state().current.is_some()
    }

    /// Waits until no run is under way, and keeps it so while the guard lives.
    pub async fn idle(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.busy).lock_owned().await
    }

    /// Ends the run under way and the one that waits, and waits for the end.
    pub async fn end_all(&self) {
        {
            let mut state = self.state();
            // Whoever waited learns it from the sender that is dropped here.
            state.pending = None;
            state.ends += 1;
            if let Some(current) = &state.current {
                current.end(Kind::Closed);
            }
        }
        drop(self.idle().await);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Whoever joins while the only other one gives up gets a run that nobody has ended.
    #[test]
    fn giving_up_takes_no_other_run_along() {
        let given_up = CancellationToken::new();
        given_up.cancel();
        for _ in 0..5_000 {
            let queue = Queue::default();
            let (first, _) = queue.join(None);
            let barrier = std::sync::Barrier::new(2);
            let _second = std::thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    assert!(queue.abandon(&first));
                });
                barrier.wait();
                queue.join(None).0
            });
            let turn = queue.next().now_or_never().flatten().expect("the second one's run is to come");
            assert!(!turn.control.is_ended());
        }
    }
}
