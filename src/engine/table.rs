//! One table in one run: first load, incremental pass, full pass or rebuild, with its retries.

use std::sync::Arc;
use std::time::Instant;

use crate::batch::{Position, Value};
use crate::config::{Deletes, Options, SchemaDrift};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Level, Mode, Phase, TableStats};
use crate::mapping::SqliteType;
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::SourceType;
use crate::source::{Lookback, Moment, Range, Source, Standing, TrackPart};
use crate::target::{Ddl, Existing, Leftover, Losses, StoredColumn, TablePhase, TableState, Write};

use super::drift::{self, Drift};
use super::plan::{self, Plan};
use super::pump::{Advance, Rows};
use super::retry::Attempts;
use super::room;
use super::run::{Run, millis};
use super::select::{self, Selected};
use super::{clock, drift::tell};

/// Times that a table may turn out to have another shape within one run: SQLite has room for 2,000 columns.
pub const MOST_RESHAPES: u32 = 4_000;

/// What outlives a table's tries.
pub struct Progress {
    /// The state as the target has it.
    pub state: Option<TableState>,
    /// What was done so far.
    pub stats: TableStats,
    /// Batches committed so far that the next try goes on behind.
    pub advances: u64,
    /// When the table's turn came.
    pub started: Instant,
    /// The consistent read (`Run::epoch`) in which the present load began, when it began in this run.
    loading_since: Option<u64>,
    /// Roughly how many rows there will be.
    pub estimated_rows: Option<u64>,
    announced: bool,
    /// Which part of its life the table is in, as its events say.
    pub phase: Phase,
    /// Whether it was searched for values that the target has no room for.
    pub(super) searched: bool,
    /// How often that was tried in vain.
    pub(super) searches: u32,
    /// Whether the present read of a track range came by the position's own row, or one after it.
    pub met_position: bool,
}

/// A table's plan and state while a try is under way.
pub struct Work {
    /// The plan.
    pub plan: Plan,
    /// The plan's replica, shared with the target.
    pub replica: Arc<Replica>,
    /// The moment the rows are read at.
    pub moment: Moment,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(state: Option<TableState>) -> Self {
        Self {
            stats: TableStats {
                mode: state.as_ref().map_or(Mode::Incremental, |state| state.mode),
                rows_read: 0,
                rows_inserted: 0,
                rows_updated: 0,
                rows_deleted: 0,
                bytes_read: 0,
                duration_ms: 0,
            },
            state,
            advances: 0,
            started: Instant::now(),
            loading_since: None,
            estimated_rows: None,
            announced: false,
            phase: Phase::Incremental,
            searched: false,
            searches: 0,
            met_position: false,
        }
    }
}

/// Which way a table takes in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Build it aside and swap it in.
    Rebuild,
    /// Load it from its beginning.
    Load,
    /// Go on with a load that an earlier try began.
    Resume,
    /// Load it over rows that nothing is known of.
    Reload,
    /// It is loaded: bring it up to date.
    Update,
}

impl Run<'_> {
    /// Syncs one table. `None` for the statistics when it failed before its turn began.
    pub async fn table(&mut self, table: &Selected, state: Option<TableState>) -> (Option<TableStats>, Result<()>) {
        let mut progress = Progress::new(state);
        self.reporter.log(Level::Info, format_args!("Syncing table {}", table.target));
        let mut attempts = Attempts::new(self.options.retry);
        let mut reshapes = 0;
        let outcome = loop {
            let advances = progress.advances;
            let error = match self.attempt(table, &mut progress).await {
                Ok(()) => break Ok(()),
                Err(error) => error,
            };
            if progress.advances > advances {
                attempts.progressed();
            }
            // The source has learnt of rows that its table had no place for: nothing failed, and nothing is to be waited
            // for. Each time it is another column or a wider one, so there is an end to it.
            if error.is_reshaped() && reshapes < MOST_RESHAPES {
                reshapes += 1;
                continue;
            }
            let what = format!("table {}", table.target);
            if let Err(error) = self.wait_to_retry(&mut attempts, error, &what).await {
                break Err(error);
            }
        };
        progress.stats.duration_ms = millis(progress.started.elapsed());
        let stats = progress.announced.then_some(progress.stats);
        if let (Ok(()), Some(stats)) = (&outcome, &stats) {
            let records = stats.rows_inserted + stats.rows_updated;
            self.reporter.log(Level::Info, format_args!("Synced {records} records for table {}", table.target));
            self.reporter.event(Event::TableComplete { table: table.target.clone(), stats: stats.clone() });
        }
        (stats, outcome)
    }

    async fn attempt(&mut self, table: &Selected, progress: &mut Progress) -> Result<()> {
        let moment = self.read().await?;
        if let Some(state) = progress.state.as_mut().filter(|state| state.source != table.full_name()) {
            self.target.hand_on(&state.source, &table.full_name()).await?;
            state.source = table.full_name();
        }
        let known = plan::known_columns(progress.state.as_ref());
        let described = self.control.or_end(select::described(self.source, table, &known)).await?;
        let existing = self.target.existing(&table.target).await?;
        let gone = if existing.is_none() { progress.state.take_if(|state| state.target == table.target) } else { None };
        // A target that can't make table and state at once begins with the state.
        if gone.is_some_and(|state| state.record_count > 0 || state.last_sync_time.is_some()) {
            self.reporter
                .log(Level::Warn, format_args!("Table {} is gone from the target: it is loaded anew", table.target));
        }
        // Under another name the table begins a new life; the old one is the user's to drop.
        if let Some(old) = progress.state.take_if(|state| state.target != table.target) {
            self.reporter.log(
                Level::Warn,
                format_args!("Table {} goes to {} from now on; the old one stays as it is", old.target, table.target),
            );
        }
        let mut plan =
            plan::plan(described, table.target.clone(), &table.wishes, self.options, progress.state.as_ref())?;
        let mut drift = match &progress.state {
            Some(state) => drift::compare(&mut plan, state, self.options.schema_drift)?,
            None => Drift::default(),
        };
        plan.check_width(self.options.schema_drift, self.target.most_columns())?;
        if let Some(existing) = existing.as_ref().filter(|_| progress.state.is_none()) {
            check_is_free(table, existing)?;
        }
        let route = route(&plan, &drift, progress.state.as_ref(), existing.is_some());
        let standing = standing(self.source, route, progress.state.as_ref());
        let is_due = standing == Standing::Lost || standing == Standing::Later && room::is_due(route);
        if is_due && !self.has_room(&plan, progress).await? {
            // What was asked so far is of the read that is over.
            return Box::pin(self.attempt(table, progress)).await;
        }
        let route = self.route_from_here(&plan, route, standing)?;
        for (level, hint) in &plan.hints {
            self.reporter.log_once(*level, hint);
        }
        self.tell_changes(table, &drift);
        let work = Work { replica: Arc::new(plan.replica.clone()), plan, moment };
        progress.stats.mode = work.plan.mode;
        self.announce(&work, route, progress);

        if lacks_marks(&work.replica, existing.as_ref()) {
            drift.steps.push(Ddl::AddDeletedAt);
        }
        match route {
            Route::Rebuild => self.rebuild(&work, progress).await,
            Route::Load => {
                let over_rows = progress.state.is_some();
                self.begin_load(&work, drift.steps, TablePhase::Snapshot, progress).await?;
                self.load(&work, progress).await?;
                // Rows that were there before may be none of this plan's, such as those of another filter.
                if over_rows { self.reconcile(&work, progress).await } else { Ok(()) }
            }
            Route::Resume => {
                self.prepare(&work, &drift.steps, progress).await?;
                self.load(&work, progress).await
            }
            Route::Reload => {
                self.begin_load(&work, drift.steps, TablePhase::Reset, progress).await?;
                self.reload(&work, progress).await
            }
            Route::Update => {
                self.prepare(&work, &drift.steps, progress).await?;
                self.update(&work, progress).await
            }
        }
    }

    /// The way to take when the source may stand before what the table was synced to.
    fn route_from_here(&self, plan: &Plan, route: Route, standing: Standing) -> Result<Route> {
        let target = &plan.replica.target;
        match standing {
            Standing::Later => Ok(route),
            Standing::Lagging => Err(lagging(target)),
            Standing::Lost => {
                self.reporter.log(
                    Level::Warn,
                    format_args!(
                        "The source is behind what table {target} was synced to: a server took over without the last \
                         transactions, or was restored to an earlier moment; the table is read again as a whole"
                    ),
                );
                Ok(Route::Load)
            }
        }
    }

    fn tell_changes(&self, table: &Selected, drift: &Drift) {
        if drift.changes.is_empty() {
            return;
        }
        let told: Vec<String> = drift.changes.iter().map(tell).collect();
        let line = format!("Schema of table {} changed: {}", table.target, told.join(", "));
        // A frozen schema goes on to differ in the same way, run after run.
        if self.options.schema_drift == SchemaDrift::Freeze {
            if !self.reporter.log_once(Level::Info, line) {
                return;
            }
        } else {
            self.reporter.log(Level::Info, line);
        }
        self.reporter.event(Event::SchemaChange { table: table.target.clone(), changes: drift.changes.clone() });
    }

    fn announce(&self, work: &Work, route: Route, progress: &mut Progress) {
        if std::mem::replace(&mut progress.announced, true) {
            return;
        }
        let known: &[StoredColumn] = progress.state.as_ref().map_or(&[], |state| &state.columns);
        for column in &work.replica.columns {
            self.hint_of_column(work, column, known);
        }
        if let Some(statement) = self.source.advice(&work.replica) {
            self.reporter.log_once(
                Level::Warn,
                format_args!(
                    "Table {} is large and its track column has no index, so every run scans it; to mend that, run: {statement}",
                    work.replica.target
                ),
            );
        }
        progress.phase = if route == Route::Update { Phase::Incremental } else { Phase::Snapshot };
        self.reporter.event(Event::TableStart {
            table: work.replica.target.clone(),
            mode: work.plan.mode,
            phase: progress.phase,
        });
    }

    /// Says of a column that is none of the `known` what its user may not expect of its type.
    fn hint_of_column(&self, work: &Work, column: &ReplicaColumn, known: &[StoredColumn]) {
        let replica = &work.replica;
        let source = &replica.source.columns[column.source];
        let (table, name, declared) = (&replica.target, &source.name, &source.declared);
        let (level, line) = match source.kind {
            SourceType::Decimal { .. } if column.sqlite == SqliteType::Text => (
                Level::Info,
                format!(
                    "Column {table}.{name} ({declared}) is kept as exact text, which compares as text; \
                     types: {{ {name}: 'REAL' }} makes it a number"
                ),
            ),
            SourceType::Opaque { known: false } => (
                Level::Warn,
                format!("Column {table}.{name} has the type {declared}, which is kept as the source's own text"),
            ),
            _ => return,
        };
        let stored = work.plan.stored(column);
        if !known.iter().any(|known| known.source == stored.source && known.declared == stored.declared) {
            self.reporter.log_once(level, line);
        }
    }

    /// Runs schema steps that a table needs before its rows, if there are any.
    async fn prepare(&mut self, work: &Work, steps: &[Ddl], progress: &mut Progress) -> Result<()> {
        let Some(state) = &mut progress.state else { return Ok(()) };
        if steps.is_empty() {
            return Ok(());
        }
        state.columns = work.plan.stored_columns(Some(state));
        self.target.prepare(&work.replica, steps, state).await
    }

    /// Begins a load: takes the watermark that incremental runs will go on from, before the first row is read.
    async fn begin_load(
        &mut self,
        work: &Work,
        mut steps: Vec<Ddl>,
        phase: TablePhase,
        progress: &mut Progress,
    ) -> Result<()> {
        let is_new = progress.state.is_none();
        if is_new {
            steps.insert(0, Ddl::Create);
        }
        if work.replica.may_lack_track() {
            steps.push(Ddl::IndexMissingTrack);
        }
        let state = self.fresh_state(work, phase, progress.state.as_ref()).await?;
        self.target.prepare(&work.replica, &steps, &state).await?;
        if is_new {
            self.reporter.log(Level::Info, format_args!("Created table {}", work.replica.target));
        }
        progress.state = Some(state);
        progress.loading_since = Some(self.epoch);
        Ok(())
    }

    /// A table's state at the beginning of a load.
    async fn fresh_state(&mut self, work: &Work, phase: TablePhase, before: Option<&TableState>) -> Result<TableState> {
        let watermark = match work.replica.track {
            Track::Columns(_) => self.control.or_end(self.source.high_water(&work.replica)).await?,
            Track::Whole | Track::Transaction => None,
        };
        Ok(TableState {
            source: work.replica.source.name.to_string(),
            target: work.replica.target.clone(),
            // Until a reload is complete, the rows still came from where they came from.
            fingerprint: match (phase, before) {
                (TablePhase::Reset, Some(before)) => before.fingerprint.clone(),
                _ => self.fingerprint.clone(),
            },
            mode: work.plan.mode,
            phase,
            signature: work.plan.signature.clone(),
            columns: work.plan.stored_columns(before),
            key: work.plan.key_names(),
            key_position: None,
            floor: watermark.clone(),
            position: watermark,
            snapshot: work.moment.snapshot.clone(),
            record_count: 0,
            null_tracked: 0,
            last_sync_time: before.and_then(|before| before.last_sync_time.clone()),
            last_error: None,
        })
    }

    /// The first load, from where it stands, in key order; then what changed meanwhile.
    async fn load(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let after = state(progress)?.key_position.clone();
        let resumes = after.is_some();
        // Over rows that are there, also where later runs only add new ones: what is loaded is what the source has.
        let rows = Rows { write: Write::Upsert, stage: false, advance: Advance::Key };
        self.pump(work, Range::ByKey { after }, rows, progress).await?;
        if resumes && !self.source.loads_by_key() {
            self.fetch_missing(work, progress).await?;
        }
        // A load within one consistent read saw everything at once; what an earlier read loaded may have changed since.
        if progress.loading_since == Some(self.epoch) {
            return self.finish(work, progress).await;
        }
        self.update(work, progress).await
    }

    /// A load over rows that nothing is known of: after it, the target is what a first load would have made of it.
    async fn reload(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let foreign = state(progress)?.fingerprint != self.fingerprint;
        self.target.begin_stage(&work.replica).await?;
        let rows = Rows { write: Write::Upsert, stage: true, advance: Advance::None };
        self.pump(work, Range::Whole, rows, progress).await?;
        if foreign || work.plan.deletes != Deletes::None {
            self.remove_unstaged(work, None, progress).await?;
        }
        self.finish(work, progress).await
    }

    /// Brings a loaded table up to date.
    async fn update(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        match (work.plan.mode, &work.replica.track) {
            (Mode::Full, _) | (_, Track::Whole) => {
                let reconciles = work.plan.deletes != Deletes::None;
                if reconciles {
                    self.target.begin_stage(&work.replica).await?;
                }
                let rows = Rows { write: Write::Upsert, stage: reconciles, advance: Advance::None };
                self.pump(work, Range::Whole, rows, progress).await?;
                if reconciles {
                    self.remove_unstaged(work, Some(self.options.delete_limit), progress).await?;
                }
                self.finish(work, progress).await
            }
            (_, Track::Transaction) => {
                let snapshot = state(progress)?.snapshot.clone();
                let rows = Rows { write: write_of(work), stage: false, advance: Advance::None };
                self.pump(work, Range::Changed { snapshot }, rows, progress).await?;
                self.finish(work, progress).await?;
                self.reconcile(work, progress).await
            }
            (_, Track::Columns(_)) => {
                self.follow_track(work, progress).await?;
                if work.replica.may_lack_track() {
                    self.follow_missing_track(work, progress).await?;
                }
                self.finish(work, progress).await?;
                self.reconcile(work, progress).await
            }
        }
    }

    /// Reads what lies after the position, and of the lookback behind it what the last run could not see.
    async fn follow_track(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let TableState { position: after, floor, snapshot, .. } = state(progress)?.clone();
        let lookback = lookback(self.options);
        let range = |part| Range::ByTrack {
            part,
            floor: floor.clone(),
            after: after.clone(),
            snapshot: snapshot.clone(),
            lookback,
        };
        let rows = |advance| Rows { write: write_of(work), stage: false, advance };
        if after == floor {
            // Where the source returns only what changed, the row at the position need not be among it; time goes on
            // there whatever happens, but numbers may begin anew.
            progress.met_position = after.is_none() || (work.replica.source.sees_changes && work.replica.tracks_time());
            self.pump(work, range(TrackPart::All), rows(Advance::Track), progress).await?;
            return if progress.met_position { Ok(()) } else { self.step_back(work, progress).await };
        }
        // An earlier run was cut on its way. What lies ahead comes first, so that a run that is cut again and again at
        // the same length still moves on; reading its lookback first, it would read the same rows for ever.
        self.pump(work, range(TrackPart::Ahead), rows(Advance::Track), progress).await?;
        self.pump(work, range(TrackPart::Behind), rows(Advance::None), progress).await
    }

    /// Goes on from the newest row there is, when the one at the position is gone: a source that went back to an earlier
    /// moment gives out the values behind the position a second time.
    async fn step_back(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let newest = self.control.or_end(self.source.high_water(&work.replica)).await?;
        let state = progress.state.as_mut().ok_or_else(no_state)?;
        if state.position == newest {
            return Ok(());
        }
        // Where deleted rows are followed, this is a row like the others.
        let level = if work.plan.deletes == Deletes::None { Level::Warn } else { Level::Info };
        self.reporter.log_once(
            level,
            format_args!(
                "The newest row of table {} is gone from the source: it was deleted, or the source went back to an \
                 earlier moment (a failover to a server that was behind, a restored backup); verify() tells what differs",
                work.replica.target
            ),
        );
        state.position.clone_from(&newest);
        state.floor.clone_from(&newest);
        let range = Range::ByTrack {
            part: TrackPart::All,
            floor: newest.clone(),
            after: newest,
            snapshot: state.snapshot.clone(),
            lookback: lookback(self.options),
        };
        let rows = Rows { write: write_of(work), stage: false, advance: Advance::Track };
        self.pump(work, range, rows, progress).await
    }

    /// Builds the table aside and puts it in place at once.
    async fn rebuild(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let is_new = progress.state.is_none();
        // What another source's table had is of no use to this one's.
        let before = progress.state.as_ref().filter(|before| before.fingerprint == self.fingerprint);
        let mut after = self.fresh_state(work, TablePhase::Incremental, before).await?;
        after.last_sync_time = Some(clock::now());
        // Until the swap the target keeps the old table and its state; a cut leaves only the table aside behind.
        self.target.begin_aside(&work.replica).await?;
        let rows = Rows { write: Write::Aside, stage: false, advance: Advance::None };
        self.pump_aside(work, rows, progress, &after).await?;
        let leftover = self.leftover(work, progress.state.as_ref());
        if progress.state.as_ref().is_some_and(|before| before.phase != TablePhase::Reset) {
            let Losses { lost, present } = self.target.aside_losses(&work.replica, &leftover).await?;
            check_delete_limit(work, lost, present, self.options.delete_limit)?;
        }
        let (changes, lost) = self.target.swap_aside(&work.replica, &after, &leftover).await?;
        progress.state = Some(after.clone());
        for what in lost {
            self.reporter
                .log(Level::Warn, format_args!("Rebuilding table {} could not keep {what}", work.replica.target));
        }
        if is_new {
            self.reporter.log(Level::Info, format_args!("Created table {}", work.replica.target));
        }
        progress.count(changes);
        if work.replica.may_lack_track() {
            self.target.prepare(&work.replica, &[Ddl::IndexMissingTrack], &after).await?;
        }
        progress.state = Some(self.target.save(&work.replica, &after).await?);
        Ok(())
    }

    /// What a rebuild does with rows that the source no longer has.
    fn leftover(&self, work: &Work, before: Option<&TableState>) -> Leftover {
        let Some(before) = before else { return Leftover::Goes };
        let is_another_form = |column: &ReplicaColumn| {
            let now = work.plan.stored(column);
            !before.columns.iter().any(|old| old.source == now.source && old.has_form_of(&now))
        };
        let Replica { key, columns, .. } = &*work.replica;
        if key.iter().any(|&part| is_another_form(&columns[part])) {
            return Leftover::Unknown;
        }
        let marked = match work.plan.deletes {
            Deletes::Hard => return Leftover::Goes,
            Deletes::Soft => true,
            // Another source's rows are no part of this one's replica.
            Deletes::None if before.fingerprint != self.fingerprint => return Leftover::Goes,
            Deletes::None => false,
        };
        let cleared = columns.iter().filter(|column| work.plan.is_made(column) && is_another_form(column));
        Leftover::Stays { marked, cleared: cleared.map(|column| column.name.clone()).collect() }
    }

    /// Marks the table as complete up to the moment of this run.
    async fn finish(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let fingerprint = self.fingerprint.clone();
        let state = progress.state.as_mut().ok_or_else(no_state)?;
        state.phase = TablePhase::Incremental;
        state.fingerprint = fingerprint;
        state.mode = work.plan.mode;
        state.signature.clone_from(&work.plan.signature);
        state.columns = work.plan.stored_columns(Some(state));
        state.key = work.plan.key_names();
        state.key_position = None;
        if work.replica.track == Track::Transaction {
            let track = work.moment.snapshot.clone().map_or(Value::Null, Value::Text);
            state.position = Some(Position { track, key: Vec::new() });
        }
        state.floor.clone_from(&state.position);
        state.snapshot.clone_from(&work.moment.snapshot);
        state.last_sync_time = Some(clock::now());
        state.last_error = None;
        let saved = self.target.save(&work.replica, state).await?;
        progress.state = Some(saved);
        Ok(())
    }
}

/// The way a table takes; `exists` when something is in the target under its name.
pub fn route(plan: &Plan, drift: &Drift, state: Option<&TableState>, exists: bool) -> Route {
    if drift.rebuild || plan.replica.key.is_empty() || (state.is_none() && exists) {
        return Route::Rebuild;
    }
    let Some(state) = state else { return Route::Load };
    let same = state.signature == plan.signature && !drift.refill;
    match state.phase {
        TablePhase::Reset => Route::Reload,
        TablePhase::Snapshot if same => Route::Resume,
        TablePhase::Incremental if same || (plan.mode == Mode::Full && state.mode == Mode::Full) => Route::Update,
        TablePhase::Snapshot | TablePhase::Incremental => Route::Load,
    }
}

/// Where the source stands, for a way that goes on from what the table was synced to.
pub fn standing(source: &dyn Source, route: Route, state: Option<&TableState>) -> Standing {
    match (route, state.and_then(|state| state.snapshot.as_deref())) {
        (Route::Update | Route::Resume, Some(saved)) => source.standing(saved),
        _ => Standing::Later,
    }
}

/// How far a track range reaches back, as the user wants it.
pub const fn lookback(options: &Options) -> Lookback {
    Lookback { seconds: options.lookback, values: options.lookback_values }
}

/// The error of a standby that has not seen what the replica has.
pub fn lagging(target: &str) -> Error {
    Error::new(Kind::SourceRead, format!("Failed to read table '{target}'"))
        .because(
            "the source is a standby that is behind what this replica has already seen: wait until it has caught up, or \
             name the primary",
        )
        .transient(true)
}

/// How rows of this table meet those that are there.
pub fn write_of(work: &Work) -> Write {
    if work.plan.mode == Mode::Append { Write::InsertNew } else { Write::Upsert }
}

/// The state of a table whose work has begun.
pub fn state(progress: &Progress) -> Result<&TableState> {
    progress.state.as_ref().ok_or_else(no_state)
}

fn no_state() -> Error {
    Error::new(Kind::Internal, "A table was synced before its state was made")
}

/// Refuses to remove more rows than the user allows.
///
/// # Errors
/// `DELETE_LIMIT`.
pub fn check_delete_limit(work: &Work, removed: u64, present: u64, limit: f64) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
    let share = if present == 0 { 0.0 } else { removed as f64 / present as f64 };
    if share <= limit {
        return Ok(());
    }
    Err(Error::new(
        Kind::DeleteLimit,
        format!("Refused to delete {removed} of {present} rows of table '{}'", work.replica.target),
    )
    .because(format!(
        "that is more than the share of {limit} that delete_limit allows; if the rows are really gone from the source, \
         raise delete_limit for a run"
    )))
}

/// The error for a table that is not there.
pub fn not_found(table: &Selected) -> Error {
    // What a pattern found is known by its own name.
    let asked = if table.wishes.name.contains('*') { &table.name.name } else { &table.wishes.name };
    Error::new(Kind::TableNotFound, format!("Table '{asked}' not found in external database"))
        .because(format!("there is no table or view {}, or the role may not see it", table.name))
        .in_table(&table.target)
}

/// Whether rows are to be marked as deleted in a table that has no column for it.
pub fn lacks_marks(replica: &Replica, existing: Option<&Existing>) -> bool {
    let has_marks = |existing: &Existing| existing.columns.iter().any(|name| name == plan::DELETED_AT);
    replica.soft_delete && existing.is_some_and(|existing| !has_marks(existing))
}

/// Refuses to touch what is in the target under the table's name and has no state: only a table without rows gives way.
///
/// # Errors
/// `SCHEMA`.
pub fn check_is_free(table: &Selected, existing: &Existing) -> Result<()> {
    if existing.kind == "table" && !existing.has_rows {
        return Ok(());
    }
    Err(Error::new(Kind::Schema, format!("Failed to create table '{}'", table.target)).because(format!(
        "the target has a {} of that name that this plugin did not make; name another with as, or drop it",
        existing.kind
    )))
}
