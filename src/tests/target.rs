//! The targets by themselves: a SQLite file, and a StarbaseDB in workerd.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, types::Value as Sql};
use tempfile::TempDir;

use crate::batch::{Batch, Position, Value};
use crate::config::Secret;
use crate::error::Kind;
use crate::event::Mode;
use crate::mapping::SqliteType;
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{Column, Relation, SourceType, Table, TableName};
use crate::target::sqlite::SqliteTarget;
use crate::target::starbasedb::StarbasedbTarget;
use crate::target::{
    Changes, Ddl, KeyDifference, Lane, Leftover, Losses, Removal, State, StoredColumn, TablePhase, TableState, Target,
    TargetLock, Write,
};

use super::deployed::Deployed;
use super::support::LIMITS;
use SqliteType::{Blob, Integer, Real, Text};

/// Runs each function against each kind of target.
macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        mod file {
            $(#[tokio::test] async fn $name() { super::$name(super::On::File).await; })+
        }
        mod deployed {
            $(#[tokio::test] async fn $name() { super::$name(super::On::Deployed).await; })+
        }
    };
}

targets!(
    upserts_count_what_really_changed,
    a_users_triggers_do_not_blur_the_counts,
    every_cell_comes_back_as_it_was,
    a_failing_row_leaves_neither_rows_nor_state,
    the_state_comes_back_as_it_was,
    a_damaged_state_says_what_to_do_and_quotes_nothing,
    soft_deleted_rows_come_back,
    composite_keys_are_compared_and_removed,
    the_lane_without_track_has_rows_of_its_own,
    steps_change_the_table_and_are_shown_before,
    a_table_without_a_key_is_swapped_and_its_differences_counted,
    a_rebuilt_table_keeps_what_it_must,
    triggers_say_what_a_conflict_does,
);

/// The kinds of target.
#[derive(Clone, Copy, PartialEq)]
enum On {
    /// A SQLite file.
    File,
    /// A StarbaseDB in workerd.
    Deployed,
}

struct Fixture {
    dir: TempDir,
    path: PathBuf,
    target: Box<dyn Target>,
    /// A deployed target takes changes only from whoever holds it.
    _lock: Option<Box<dyn TargetLock>>,
}

impl Fixture {
    async fn new(on: On) -> Self {
        let dir = TempDir::new().unwrap();
        if on == On::File {
            let path = dir.path().join("t.sqlite");
            return Self { dir, target: Box::new(SqliteTarget::new(path.clone())), path, _lock: None };
        }
        let Deployed { file, place } = Deployed::new().await;
        let source = place.source();
        let word = |name: &str| source[name].as_str().unwrap().to_owned();
        let target = StarbasedbTarget::new(&word("uri"), Secret(word("token")), LIMITS).unwrap();
        let lock = target.lock(Duration::ZERO).await.unwrap();
        Self { dir, path: file, target: Box::new(target), _lock: Some(lock) }
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    async fn created(on: On, replica: &Arc<Replica>) -> Self {
        let fixture = Self::new(on).await;
        let mut steps = vec![Ddl::Create];
        if replica.may_lack_track() {
            steps.push(Ddl::IndexMissingTrack);
        }
        fixture.target.prepare(replica, &steps, &state(replica)).await.unwrap();
        fixture
    }

    async fn put(&self, replica: &Arc<Replica>, write: Write, rows: &[&[Value]]) -> Changes {
        self.target.write(replica, write, false, batch(rows), &state(replica)).await.unwrap().0
    }

    async fn counts(&self) -> (u64, u64) {
        let state = self.target.load().await.unwrap();
        let table = state.tables.values().next().unwrap();
        (table.record_count, table.null_tracked)
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Sql>> {
        let conn = self.sql();
        let mut statement = conn.prepare(sql).unwrap();
        let width = statement.column_count();
        statement
            .query_map([], |row| (0..width).map(|index| row.get(index)).collect())
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }
}

fn replica(name: &str, columns: &[(&str, SqliteType)], key: &[usize], track: &[usize]) -> Replica {
    Replica {
        source: Table {
            name: TableName { schema: Some("public".into()), name: name.into() },
            relation: Relation::Table,
            columns: columns
                .iter()
                .map(|(name, _)| Column {
                    name: (*name).into(),
                    declared: "any".into(),
                    type_name: "any".into(),
                    kind: SourceType::Opaque { known: true },
                    nullable: true,
                    on_request: false,
                    expression: None,
                })
                .collect(),
            key: key.iter().map(|&index| columns[index].0.into()).collect(),
            key_collations: None,
            estimated_rows: None,
            indexes: Vec::new(),
            sees_changes: true,
            grows: false,
            numbered: false,
        },
        target: name.into(),
        columns: columns
            .iter()
            .enumerate()
            .map(|(source, (name, sqlite))| ReplicaColumn { source, name: (*name).into(), sqlite: *sqlite })
            .collect(),
        key: key.to_vec(),
        track: if track.is_empty() { Track::Whole } else { Track::Columns(track.to_vec()) },
        filter: None,
        soft_delete: false,
        null_zero_dates: false,
        takes_new_columns: true,
    }
}

fn users() -> Arc<Replica> {
    Arc::new(replica("users", &[("id", Integer), ("name", Text)], &[0], &[]))
}

fn soft_users() -> Arc<Replica> {
    Arc::new(Replica { soft_delete: true, ..replica("users", &[("id", Integer), ("name", Text)], &[0], &[]) })
}

fn state(replica: &Replica) -> TableState {
    TableState {
        fingerprint: "postgresql:abc".into(),
        signature: "s".into(),
        columns: replica
            .columns
            .iter()
            .map(|column| StoredColumn {
                source: column.name.clone(),
                target: column.name.clone(),
                declared: "any".into(),
                sqlite: column.sqlite,
                spelling: "any".into(),
                present: true,
            })
            .collect(),
        key: replica.key.iter().map(|&column| replica.columns[column].name.clone()).collect(),
        ..TableState::new(
            replica.source.name.to_string(),
            replica.target.clone(),
            Mode::Incremental,
            TablePhase::Incremental,
        )
    }
}

/// Batches of two rows.
fn batch(rows: &[&[Value]]) -> Vec<Batch> {
    let fill = |rows: &[&[Value]]| {
        let mut batch = Batch::new(rows.first().map_or(1, |row| row.len()));
        rows.iter().flat_map(|row| row.iter()).for_each(|value| batch.push_value(value));
        batch
    };
    rows.chunks(2).map(fill).collect()
}

fn i(value: i64) -> Value {
    Value::Int(value)
}

fn t(value: &str) -> Value {
    Value::Text(value.into())
}

fn changes(inserted: u64, updated: u64, deleted: u64) -> Changes {
    Changes { inserted, updated, deleted }
}

fn text(value: &str) -> Sql {
    Sql::Text(value.into())
}

async fn upserts_count_what_really_changed(on: On) {
    let users = users();
    let f = Fixture::created(on, &users).await;
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("b")]]).await, changes(2, 0, 0));
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("b")]]).await, changes(0, 0, 0));
    let mixed = f.put(&users, Write::Upsert, &[&[i(1), t("A")], &[i(2), t("b")], &[i(3), Value::Null]]).await;
    assert_eq!(mixed, changes(1, 1, 0));
    // One row twice in a batch is an insert and an update.
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(4), t("x")], &[i(4), t("y")]]).await, changes(1, 1, 0));
    assert_eq!(f.put(&users, Write::InsertNew, &[&[i(4), t("z")], &[i(5), t("z")]]).await, changes(1, 0, 0));
    assert_eq!(f.counts().await.0, 5);
    assert_eq!(f.rows("SELECT name FROM users WHERE id = 4"), [[text("y")]]);
}

async fn a_users_triggers_do_not_blur_the_counts(on: On) {
    let users = users();
    let f = Fixture::created(on, &users).await;
    f.sql()
        .execute_batch(
            "CREATE TABLE log (id); CREATE TRIGGER l AFTER INSERT ON users BEGIN
               INSERT INTO log VALUES (new.id); UPDATE users SET name = upper(name) WHERE id = new.id; END;",
        )
        .unwrap();
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("B")]]).await, changes(2, 0, 0));
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("B")]]).await, changes(0, 1, 0));
    assert_eq!(f.counts().await.0, 2);
}

async fn every_cell_comes_back_as_it_was(on: On) {
    let r = Arc::new(replica(
        "t\"; DROP TABLE x; --",
        &[("id", Integer), ("ı \"q\"", Integer), ("r", Real), ("t", Text), ("b", Blob), ("select", Text)],
        &[0],
        &[],
    ));
    let f = Fixture::created(on, &r).await;
    let rows: [&[Value]; 3] = [
        &[i(1), i(i64::MIN), Value::Real(0.1), t("a\0b'\"é"), Value::Blob(vec![0, 255]), t("007")],
        &[i(2), i(i64::MAX), Value::Real(-1e308), t(""), Value::Blob(vec![]), Value::Null],
        &[i(3), t("18446744073709551615"), t("NaN"), t("5"), Value::Null, t("1e5")],
    ];
    assert_eq!(f.put(&r, Write::Upsert, &rows).await, changes(3, 0, 0));
    assert_eq!(f.put(&r, Write::Upsert, &rows).await, changes(0, 0, 0));
    let read = f.rows("SELECT * FROM \"t\"\"; DROP TABLE x; --\" ORDER BY id");
    assert_eq!(
        read[0][1..],
        [Sql::Integer(i64::MIN), Sql::Real(0.1), text("a\0b'\"é"), Sql::Blob(vec![0, 255]), text("007"),]
    );
    assert_eq!(read[1][1..], [Sql::Integer(i64::MAX), Sql::Real(-1e308), text(""), Sql::Blob(vec![]), Sql::Null]);
    // No integer column can hold this one, but the engine has made it TEXT before it comes here.
    assert_eq!(read[2][2..], [text("NaN"), text("5"), Sql::Null, text("1e5")]);
}

async fn a_failing_row_leaves_neither_rows_nor_state(on: On) {
    let users = users();
    let f = Fixture::created(on, &users).await;
    f.sql().execute_batch("CREATE UNIQUE INDEX u ON users (name)").unwrap();
    let mut moved = state(&users);
    moved.position = Some(Position { track: i(9), key: vec![i(9)] });
    let rows = batch(&[&[i(1), t("secret")], &[i(2), t("secret")], &[i(3), t("c")]]);
    let error = f.target.write(&users, Write::Upsert, false, rows, &moved).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TargetWrite);
    assert_eq!(error.to_string(), "Failed to write to table 'users': UNIQUE constraint failed: users.name");
    assert!(f.rows("SELECT * FROM users").is_empty());
    assert_eq!(f.target.load().await.unwrap().tables["public.users"], state(&users));
    // The connection is as good as new.
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")]]).await, changes(1, 0, 0));
}

async fn the_state_comes_back_as_it_was(on: On) {
    let users = users();
    let f = Fixture::new(on).await;
    assert_eq!(f.target.load().await.unwrap(), State::default());
    assert_eq!(f.target.existing("users").await.unwrap(), None);
    assert!(f.target.reset(None).await.unwrap());
    assert!(!f.target.reset(Some("users")).await.unwrap());
    f.target.save_error("public.users", Some("x")).await.unwrap();
    assert!(on == On::Deployed || !f.path().exists(), "a look made the file");

    let mut wanted = state(&users);
    wanted.phase = TablePhase::Snapshot;
    wanted.key_position = Some(vec![i(1), Value::Real(0.1), t("ä"), Value::Blob(vec![1]), Value::Null]);
    wanted.position = Some(Position { track: t("2026-01-01T00:00:00.000001Z"), key: vec![i(7)] });
    wanted.floor = Some(Position { track: Value::Null, key: vec![] });
    wanted.snapshot = Some("1:2:".into());
    wanted.last_sync_time = Some("2026-01-01T00:00:00.000Z".into());
    f.target.prepare(&users, &[Ddl::Create], &state(&users)).await.unwrap();
    let (done, _) = f.target.write(&users, Write::Upsert, false, batch(&[&[i(1), t("a")]]), &wanted).await.unwrap();
    assert_eq!(done, changes(1, 0, 0));
    wanted.record_count = 1;
    f.target.save_error("public.users", Some("went wrong")).await.unwrap();
    f.target.finish_run("fp", Some("2026-01-02T00:00:00.000Z")).await.unwrap();
    f.target.finish_run("fp", None).await.unwrap();
    f.target.close().await;
    let loaded = f.target.load().await.unwrap();
    assert_eq!(loaded.fingerprint.as_deref(), Some("fp"));
    assert_eq!(loaded.last_sync_time.as_deref(), Some("2026-01-02T00:00:00.000Z"));
    wanted.last_error = Some("went wrong".into());
    assert_eq!(loaded.tables["public.users"], wanted);
    let existing = f.target.existing("USERS").await.unwrap().unwrap();
    assert_eq!(
        (existing.columns, existing.has_rows, existing.kind.as_str()),
        (vec!["id".into(), "name".into()], true, "table")
    );

    assert!(!f.target.reset(Some("nope")).await.unwrap());
    assert!(f.target.reset(Some("users")).await.unwrap());
    let table = f.target.load().await.unwrap().tables.remove("public.users").unwrap();
    assert_eq!((table.phase, table.position, table.record_count), (TablePhase::Reset, None, 1));
    assert!(f.target.reset(None).await.unwrap());
    assert_eq!(f.target.load().await.unwrap().fingerprint, None);
    for row in f.rows("SELECT type FROM pragma_table_info('tmp_data_sync_state')") {
        assert!([text("TEXT"), text("INTEGER")].contains(&row[0]));
    }
}

async fn a_damaged_state_says_what_to_do_and_quotes_nothing(on: On) {
    let users = users();
    let f = Fixture::created(on, &users).await;
    f.sql().execute_batch("UPDATE tmp_data_sync_state SET position = '{\"track\":\"hush\"'").unwrap();
    let error = f.target.load().await.unwrap_err();
    assert!(error.to_string().contains("position") && error.to_string().contains("resetSyncState"), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
    f.target.reset(Some("users")).await.unwrap();
    f.target.load().await.unwrap();
    f.sql().execute_batch("UPDATE tmp_data_sync_meta SET value = '2' WHERE key = 'schema_version'").unwrap();
    let error = f.target.load().await.unwrap_err();
    assert!(error.to_string().contains("later version"), "{error}");
    assert!(f.target.reset(None).await.is_err());
}

async fn soft_deleted_rows_come_back(on: On) {
    let users = soft_users();
    let f = Fixture::created(on, &users).await;
    f.put(&users, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("b")]]).await;
    f.target.begin_stage(&users).await.unwrap();
    f.target.stage(&users, batch(&[&[i(1)]])).await.unwrap();
    assert_eq!(f.target.compare(&users, Lane::All).await.unwrap(), KeyDifference { staged: 1, present: 2, extra: 1 });
    let removed = f.target.remove_unstaged(&users, Removal::Mark, &state(&users)).await.unwrap();
    assert_eq!(removed, changes(0, 0, 1));
    assert_eq!(
        f.rows("SELECT id, _deleted_at GLOB '[0-9]*T*.[0-9][0-9][0-9]Z' FROM users"),
        [[Sql::Integer(1), Sql::Null], [Sql::Integer(2), Sql::Integer(1)]]
    );
    assert_eq!(f.target.compare(&users, Lane::All).await.unwrap(), KeyDifference { staged: 1, present: 1, extra: 0 });
    assert_eq!(f.target.remove_unstaged(&users, Removal::Mark, &state(&users)).await.unwrap(), changes(0, 0, 0));
    assert_eq!(f.put(&users, Write::InsertNew, &[&[i(2), t("b")]]).await, changes(0, 0, 0));
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(2), t("b")]]).await, changes(0, 1, 0));
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(2), t("b")]]).await, changes(0, 0, 0));
    assert_eq!(f.counts().await.0, 2);

    let only_key = Arc::new(Replica { soft_delete: true, ..replica("users", &[("id", Integer)], &[0], &[]) });
    let f = Fixture::created(on, &only_key).await;
    assert_eq!(f.put(&only_key, Write::Upsert, &[&[i(1)], &[i(1)]]).await, changes(1, 0, 0));
    f.sql().execute_batch("UPDATE users SET _deleted_at = 'x'").unwrap();
    assert_eq!(f.put(&only_key, Write::Upsert, &[&[i(1)]]).await, changes(0, 1, 0));
}

async fn composite_keys_are_compared_and_removed(on: On) {
    let r = Arc::new(replica("m", &[("v", Text), ("b", Text), ("a", Integer)], &[2, 1], &[]));
    let f = Fixture::created(on, &r).await;
    let rows: Vec<Vec<Value>> = (0..10).map(|n| vec![t("v"), t(&format!("k{n}")), i(n / 5)]).collect();
    f.put(&r, Write::Upsert, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let unstaged = f.target.compare(&r, Lane::All).await.unwrap_err();
    assert_eq!(unstaged.kind(), Kind::Internal);
    f.target.begin_stage(&r).await.unwrap();
    // Staged while written: two new rows and one that is there.
    let more = batch(&[&[t("v"), t("x"), i(0)], &[t("v"), t("x"), i(7)], &[t("v"), t("k9"), i(1)]]);
    let (done, _) = f.target.write(&r, Write::Upsert, true, more, &state(&r)).await.unwrap();
    assert_eq!(done, changes(2, 0, 0));
    f.target
        .stage(&r, batch(&[&[i(0), t("k0"), i(1)], &[i(0), t("nope"), i(0)], &[i(0), t("k1"), i(0)]]))
        .await
        .unwrap();
    f.target.stage(&r, batch(&[&[i(0), t("k0"), i(0)], &[i(5), t("nope"), i(0)]])).await.unwrap();
    assert_eq!(f.target.compare(&r, Lane::All).await.unwrap(), KeyDifference { staged: 7, present: 12, extra: 7 });
    let first = f.target.keys_to_look_up(&r, Lane::All, None, 2).await.unwrap();
    assert_eq!(first, [[i(0), t("k0")], [i(0), t("nope")]]);
    let rest = f.target.keys_to_look_up(&r, Lane::All, first.last(), 2).await.unwrap();
    assert_eq!(rest, [[i(5), t("nope")]]);
    let removed = f.target.remove_unstaged(&r, Removal::Delete, &state(&r)).await.unwrap();
    assert_eq!(removed, changes(0, 0, 7));
    assert_eq!(f.counts().await.0, 5);
    assert_eq!(f.rows("SELECT count(*) FROM m"), [[Sql::Integer(5)]]);
}

async fn the_lane_without_track_has_rows_of_its_own(on: On) {
    let columns = [("id", Integer), ("u", Text), ("c", Text)];
    let r = Arc::new(Replica { soft_delete: true, ..replica("t", &columns, &[0], &[1, 2]) });
    let f = Fixture::created(on, &r).await;
    let n = || Value::Null;
    f.put(
        &r,
        Write::Upsert,
        &[&[i(1), t("x"), n()], &[i(2), n(), t("x")], &[i(3), n(), n()], &[i(4), n(), n()], &[i(5), n(), n()]],
    )
    .await;
    let saved = f.target.save(&r, &state(&r)).await.unwrap();
    assert_eq!((saved.record_count, saved.null_tracked), (5, 3));
    assert_eq!(f.counts().await, (5, 3));
    f.target.begin_stage(&r).await.unwrap();
    // 1 lost its track value at the source, 3 is as it was, 4 is changed, 5 got one, 6 is new.
    f.target.stage(&r, batch(&[&[i(1), i(0)], &[i(3), i(0)], &[i(4), i(1)], &[i(6), i(0)]])).await.unwrap();
    assert_eq!(
        f.target.compare(&r, Lane::WithoutTrack).await.unwrap(),
        KeyDifference { staged: 4, present: 3, extra: 1 }
    );
    let keys = f.target.keys_to_look_up(&r, Lane::WithoutTrack, None, 3).await.unwrap();
    assert_eq!(keys, [[i(1)], [i(4)], [i(5)]]);
    let keys = f.target.keys_to_look_up(&r, Lane::WithoutTrack, keys.last(), 3).await.unwrap();
    assert_eq!(keys, [[i(6)]]);
    let plan = f.rows("EXPLAIN QUERY PLAN SELECT count(*) FROM t WHERE u IS NULL AND c IS NULL");
    assert!(format!("{plan:?}").contains("tmp_data_sync_null_t"), "{plan:?}");
}

async fn steps_change_the_table_and_are_shown_before(on: On) {
    let before = users();
    let f = Fixture::created(on, &before).await;
    f.put(&before, Write::Upsert, &[&[i(1), t("a")]]).await;
    let after = Arc::new(Replica {
        soft_delete: true,
        ..replica("users", &[("id", Integer), ("name", Text), ("at", Text)], &[0], &[2])
    });
    let steps = [Ddl::AddColumns(vec![2]), Ddl::AddDeletedAt, Ddl::IndexMissingTrack];
    assert_eq!(
        f.target.ddl(&after, &steps),
        [
            "ALTER TABLE \"users\" ADD COLUMN \"at\" TEXT",
            "ALTER TABLE \"users\" ADD COLUMN \"_deleted_at\" TEXT",
            "CREATE INDEX IF NOT EXISTS \"tmp_data_sync_null_users\" ON \"users\" (\"id\") WHERE \"at\" IS NULL",
        ]
    );
    f.target.prepare(&after, &steps, &state(&after)).await.unwrap();
    f.target.prepare(&after, &steps[1..], &state(&after)).await.unwrap();
    assert_eq!(f.put(&after, Write::Upsert, &[&[i(1), t("a"), t("x")]]).await, changes(0, 1, 0));
    assert_eq!(f.counts().await.0, 1);

    let error = f.target.prepare(&after, &[Ddl::Create], &state(&after)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema);
    assert!(error.to_string().starts_with("Failed to create table 'users': table \"users\" already exists"), "{error}");
    assert_eq!(
        f.target.ddl(&soft_users(), &[Ddl::Create]),
        ["CREATE TABLE \"users\" (\"id\" INTEGER NOT NULL, \"name\" TEXT, \"_deleted_at\" TEXT, PRIMARY KEY (\"id\"))"]
    );
}

#[tokio::test]
async fn a_table_may_be_as_wide_as_sqlite_takes() {
    let names: Vec<String> = (0..2001).map(|n| format!("c{n}")).collect();
    let wide = |width: usize| {
        let columns: Vec<(&str, SqliteType)> = names[..width].iter().map(|name| (name.as_str(), Integer)).collect();
        Arc::new(replica("wide", &columns, &[0], &[]))
    };
    let r = wide(2000);
    let f = Fixture::created(On::File, &r).await;
    let mut row: Vec<Value> = (0..2000).map(i).collect();
    assert_eq!(f.put(&r, Write::Upsert, &[&row]).await, changes(1, 0, 0));
    assert_eq!(f.put(&r, Write::Upsert, &[&row]).await, changes(0, 0, 0));
    row[1999] = Value::Null;
    assert_eq!(f.put(&r, Write::Upsert, &[&row]).await, changes(0, 1, 0));
    f.target.begin_aside(&r).await.unwrap();
    f.put(&r, Write::Aside, &[&row]).await;
    assert_eq!(f.target.swap_aside(&r, &state(&r), &Leftover::Goes).await.unwrap().0, changes(0, 0, 0));
    let r = wide(2001);
    let f = Fixture::new(On::File).await;
    let error = f.target.prepare(&r, &[Ddl::Create], &state(&r)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema);
    assert!(error.to_string().starts_with("Failed to create table 'wide': it has 2001 columns"), "{error}");
}

fn keyless() -> Arc<Replica> {
    Arc::new(replica("log", &[("a", Integer), ("b", Text)], &[], &[]))
}

async fn rebuild(f: &Fixture, replica: &Arc<Replica>, rows: &[&[Value]]) -> (Changes, Vec<String>) {
    f.target.begin_aside(replica).await.unwrap();
    f.put(replica, Write::Aside, rows).await;
    let count = |table: &str| f.rows(&format!("SELECT 1 FROM {table}")).len() as u64;
    let new = rows.len() as u64;
    assert_eq!(count(&format!("tmp_data_sync_new_{}", replica.target)), new);
    if f.rows("SELECT 1 FROM sqlite_schema WHERE name = 'log'").len() == 1 {
        // Without a key, all that can be told is how many fewer there are.
        let present = count("log");
        let losses = f.target.aside_losses(replica, &Leftover::Goes).await.unwrap();
        assert_eq!(losses, Losses { lost: present.saturating_sub(new), present });
    }
    f.target.swap_aside(replica, &state(replica), &Leftover::Goes).await.unwrap()
}

async fn a_table_without_a_key_is_swapped_and_its_differences_counted(on: On) {
    let log = keyless();
    let f = Fixture::new(on).await;
    let row: &[Value] = &[i(1), t("x")];
    let none: Vec<String> = Vec::new();
    assert_eq!(rebuild(&f, &log, &[row, row, &[i(2), Value::Null]]).await, (changes(3, 0, 0), none.clone()));
    assert_eq!(f.counts().await.0, 3);
    f.sql()
        .execute_batch(
            "CREATE INDEX by_b ON log (b); CREATE VIEW v AS SELECT count(*) AS n FROM log;
             CREATE TABLE seen (a); CREATE TRIGGER tr AFTER DELETE ON log BEGIN INSERT INTO seen VALUES (old.a); END;",
        )
        .unwrap();
    let root = f.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'log'");
    // In another order, and otherwise the same: the old table stays.
    assert_eq!(rebuild(&f, &log, &[&[i(2), Value::Null], row, row]).await, (changes(0, 0, 0), none.clone()));
    assert_eq!(f.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'log'"), root);
    // One of two equal rows is gone, and one is new.
    assert_eq!(rebuild(&f, &log, &[row, &[i(2), Value::Null], &[i(3), t("y")]]).await, (changes(1, 0, 1), none));
    assert_eq!(f.rows("SELECT n FROM v"), [[Sql::Integer(3)]]);
    assert_eq!(
        f.rows("SELECT name, tbl_name FROM sqlite_schema WHERE name IN ('by_b', 'tr') ORDER BY name"),
        [[text("by_b"), text("log")], [text("tr"), text("log")]]
    );
    assert!(f.rows("SELECT * FROM seen").is_empty(), "the swap fired the user's trigger");
    assert!(f.rows("SELECT name FROM sqlite_schema WHERE name LIKE '%tmp_data_sync_new%'").is_empty());
    assert_eq!(f.counts().await.0, 3);
}

async fn triggers_say_what_a_conflict_does(on: On) {
    let r = Arc::new(replica("users", &[("id", Integer), ("name", Text)], &[0], &[]));
    let f = Fixture::created(on, &r).await;
    f.sql()
        .execute_batch(
            "CREATE TABLE names (name TEXT UNIQUE);
             CREATE TRIGGER named AFTER INSERT ON users BEGIN INSERT OR IGNORE INTO names VALUES (new.name); END",
        )
        .unwrap();
    assert_eq!(f.put(&r, Write::Upsert, &[&[i(1), t("a")], &[i(2), t("a")], &[i(3), t("b")]]).await, changes(3, 0, 0));
    assert_eq!(f.rows("SELECT count(*) FROM names"), [[Sql::Integer(2)]]);
}

async fn a_rebuilt_table_keeps_what_it_must(on: On) {
    let before = soft_users();
    let f = Fixture::created(on, &before).await;
    let rows: [&[Value]; 4] = [&[i(1), t("1")], &[i(2), t("2")], &[i(3), t("3")], &[i(4), t("4")]];
    f.put(&before, Write::Upsert, &rows).await;
    f.sql()
        .execute_batch(
            "ALTER TABLE users ADD COLUMN dropped TEXT; ALTER TABLE users ADD COLUMN stray TEXT;
             UPDATE users SET dropped = 'd' || id; UPDATE users SET _deleted_at = 'then' WHERE id IN (1, 3);
             CREATE INDEX on_name ON users (name); CREATE INDEX on_stray ON users (stray);
             CREATE UNIQUE INDEX odd ON users (name) WHERE id > 100;",
        )
        .unwrap();
    // The type of `name` changed; 1 is back, 2 is still there, 3 was marked, 4 left, 5 is new.
    let after =
        Arc::new(Replica { soft_delete: true, ..replica("users", &[("id", Integer), ("name", Integer)], &[0], &[]) });
    let mut kept = state(&after);
    kept.columns.push(StoredColumn {
        source: "dropped".into(),
        target: "dropped".into(),
        declared: "text".into(),
        sqlite: Text,
        spelling: "text".into(),
        present: false,
    });
    f.target.begin_aside(&after).await.unwrap();
    f.put(&after, Write::Aside, &[&[i(1), i(1)], &[i(2), i(2)], &[i(5), i(5)]]).await;
    assert_eq!(f.target.load().await.unwrap().tables["public.users"].columns, state(&before).columns);
    let leftover = Leftover::Stays { marked: true, cleared: Vec::new() };
    // One more is marked; two that are marked already are none of those that there are.
    let losses = f.target.aside_losses(&after, &leftover).await.unwrap();
    assert_eq!(losses, Losses { lost: 1, present: 2 });
    let (done, lost) = f.target.swap_aside(&after, &kept, &leftover).await.unwrap();
    assert_eq!(done, changes(1, 1, 1));
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].starts_with("the index 'on_stray': no such column: stray"), "{lost:?}");
    assert_eq!(
        f.rows("SELECT id, name, dropped, _deleted_at IS NOT NULL, _deleted_at = 'then' FROM users ORDER BY id"),
        [
            vec![Sql::Integer(1), Sql::Integer(1), text("d1"), Sql::Integer(0), Sql::Null],
            vec![Sql::Integer(2), Sql::Integer(2), text("d2"), Sql::Integer(0), Sql::Null],
            vec![Sql::Integer(3), Sql::Integer(3), text("d3"), Sql::Integer(1), Sql::Integer(1)],
            vec![Sql::Integer(4), Sql::Integer(4), text("d4"), Sql::Integer(1), Sql::Integer(0)],
            vec![Sql::Integer(5), Sql::Integer(5), Sql::Null, Sql::Integer(0), Sql::Null],
        ]
    );
    assert_eq!(f.counts().await.0, 5);
    // Values of another form are not taken over, not even where the form is all that changed.
    f.target.begin_aside(&after).await.unwrap();
    f.put(&after, Write::Aside, &[&[i(1), i(1)], &[i(2), i(2)], &[i(5), i(5)]]).await;
    let masked = Leftover::Stays { marked: true, cleared: vec!["name".into()] };
    assert_eq!(f.target.swap_aside(&after, &kept, &masked).await.unwrap().0, changes(0, 0, 0));
    assert_eq!(
        f.rows("SELECT id, name FROM users WHERE _deleted_at IS NOT NULL ORDER BY id"),
        [vec![Sql::Integer(3), Sql::Null], vec![Sql::Integer(4), Sql::Null]]
    );
    // The new table is written to like any other.
    assert_eq!(f.put(&after, Write::Upsert, &[&[i(3), i(3)], &[i(6), i(6)]]).await, changes(1, 1, 0));

    let other_key = Arc::new(replica("users", &[("id", Integer), ("name", Integer)], &[1], &[]));
    assert_eq!(rebuild(&f, &other_key, &[&[i(1), i(1)]]).await.0, changes(1, 0, 6));
}

#[tokio::test]
async fn a_lock_keeps_others_out() {
    let f = Fixture::new(On::File).await;
    let other = SqliteTarget::new(f.dir.path().join(".").join("t.sqlite"));
    assert!(!other.is_locked().await);
    let lock = f.target.lock(Duration::ZERO).await.unwrap();
    assert!(!f.path().exists(), "locking made the database");
    assert!(other.is_locked().await);
    let began = Instant::now();
    let error = other.lock(Duration::from_millis(150)).await.err().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!((error.kind(), error.is_transient()), (Kind::TargetBusy, true));
    assert!(error.to_string().starts_with("Another sync is writing to this database"), "{error}");
    let waiting = tokio::spawn(async move { other.lock(Duration::from_secs(5)).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(lock);
    waiting.await.unwrap().unwrap();
}

/// Not a test of its own: the other process of the next one.
#[tokio::test]
#[ignore = "started by another test"]
async fn hold_the_lock() {
    let Ok(path) = std::env::var("DATA_SYNC_TEST_LOCK") else { return };
    let _lock = SqliteTarget::new(path.into()).lock(Duration::ZERO).await.unwrap();
    std::thread::sleep(Duration::from_mins(1));
}

#[tokio::test]
async fn a_lock_ends_with_its_process() {
    let f = Fixture::new(On::File).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::target::hold_the_lock", "--ignored"])
        .env("DATA_SYNC_TEST_LOCK", f.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !f.target.is_locked().await {
        assert!(began.elapsed() < Duration::from_secs(20), "the other process never locked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(f.target.lock(Duration::ZERO).await.err().unwrap().kind(), Kind::TargetBusy);
    child.kill().unwrap();
    child.wait().unwrap();
    f.target.lock(Duration::from_secs(5)).await.unwrap();
}

async fn opening(path: &Path) -> String {
    let users = users();
    let target = SqliteTarget::new(path.to_owned());
    let error = target.prepare(&users, &[Ddl::Create], &state(&users)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::TargetWrite, false));
    let locking = target.lock(Duration::ZERO).await.err().map(|error| error.to_string());
    assert_eq!(locking.as_deref().map(|text| text.split('\'').next()), Some(Some("Failed to open target database ")));
    error.to_string()
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let dir = TempDir::new().unwrap();
    let error = opening(dir.path()).await;
    assert!(error.contains("it is a directory"), "{error}");
    let missing = dir.path().join("no").join("t.sqlite");
    let error = opening(&missing).await;
    assert!(error.contains(missing.to_str().unwrap()) && error.contains("No such file"), "{error}");
    let error = SqliteTarget::new(missing).load().await.unwrap_err().to_string();
    assert!(error.contains("the directory") && error.contains("No such file"), "{error}");
    assert_eq!(SqliteTarget::new(dir.path().join("t.sqlite")).load().await.unwrap(), State::default());

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "no database ".repeat(200)).unwrap();
    let error = opening(&text).await;
    let looking = SqliteTarget::new(text).load().await.unwrap_err().to_string();
    for error in [error, looking] {
        assert!(error.contains("file is not a database") && error.contains("move this one away"), "{error}");
    }

    #[cfg(target_os = "linux")]
    opening(Path::new("/proc/t.sqlite")).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let f = Fixture::created(On::File, &users()).await;
    f.target.close().await;
    std::fs::set_permissions(f.path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(f.path()).is_ok() {
        return; // Permissions don't bind the superuser.
    }
    let error = f.target.lock(Duration::ZERO).await.err().unwrap();
    assert!(error.to_string().contains("read-only"), "{error}");
    assert_eq!(f.target.load().await.unwrap().tables.len(), 1);
}

#[tokio::test]
async fn a_full_disk_is_told_and_undone() {
    let users = users();
    let mut f = Fixture::created(On::File, &users).await;
    let file = SqliteTarget::new(f.path());
    file.limit_pages(20).await;
    f.target = Box::new(file);
    let long = "x".repeat(20_000);
    let rows: Vec<Vec<Value>> = (0..100).map(|n| vec![i(n), t(&long)]).collect();
    let rows = batch(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let error = f.target.write(&users, Write::Upsert, false, rows, &state(&users)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::TargetWrite, false));
    assert!(error.to_string().contains("database or disk is full"), "{error}");
    assert_eq!(f.counts().await.0, 0);
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")]]).await, changes(1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_answers_while_another_program_writes_and_a_write_says_busy() {
    let users = users();
    let f = Fixture::created(On::File, &users).await;
    let other = f.sql();
    other.execute_batch("BEGIN IMMEDIATE; INSERT INTO users VALUES (1, 'a')").unwrap();
    let (rows, at) = (batch(&[&[i(2), t("b")]]), state(&users));
    let write = f.target.write(&users, Write::Upsert, false, rows, &at);
    let status = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        let state = f.target.load().await.unwrap();
        (state.tables.len(), began.elapsed())
    };
    let (written, (tables, took)) = tokio::join!(write, status);
    assert_eq!(tables, 1);
    assert!(took < Duration::from_millis(500), "{took:?}");
    let error = written.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::TargetBusy, true));
    assert!(error.to_string().starts_with("Failed to write to table 'users': database is locked"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(2), t("b")]]).await, changes(1, 0, 0));
}

#[tokio::test]
async fn a_replaced_file_is_noticed_at_the_next_run() {
    let users = users();
    let f = Fixture::created(On::File, &users).await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", f.path().display()));
    }
    let error =
        f.target.write(&users, Write::Upsert, false, batch(&[&[i(1), t("a")]]), &state(&users)).await.unwrap_err();
    assert!(error.to_string().contains("moved or deleted"), "{error}");
    let _lock = f.target.lock(Duration::ZERO).await.unwrap();
    assert_eq!(f.target.load().await.unwrap(), State::default());
    f.target.prepare(&users, &[Ddl::Create], &state(&users)).await.unwrap();
    assert_eq!(f.put(&users, Write::Upsert, &[&[i(1), t("a")]]).await, changes(1, 0, 0));
    assert_eq!(f.rows("SELECT count(*) FROM users"), [[Sql::Integer(1)]]);
}

#[tokio::test]
async fn a_new_file_gets_its_settings_and_a_users_file_keeps_its_own() {
    let f = Fixture::created(On::File, &users()).await;
    assert_eq!(f.rows("PRAGMA journal_mode"), [[text("wal")]]);
    assert_eq!(f.rows("PRAGMA page_size"), [[Sql::Integer(8192)]]);
    let f = Fixture::new(On::File).await;
    f.sql().execute_batch("CREATE TABLE mine (a)").unwrap();
    f.target.prepare(&users(), &[Ddl::Create], &state(&users())).await.unwrap();
    assert_eq!(f.rows("PRAGMA page_size"), [[Sql::Integer(4096)]]);
    // Once it is closed, all is in the file: the log beside it is empty.
    f.target.finish_run("fp", None).await.unwrap();
    f.target.close().await;
    f.target.load().await.unwrap();
    assert_eq!(f.path().with_file_name("t.sqlite-wal").metadata().unwrap().len(), 0);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_million_rows() {
    let r = Arc::new(replica(
        "events",
        &[("id", Integer), ("name", Text), ("amount", Real), ("note", Text), ("at", Text)],
        &[0],
        &[4],
    ));
    let f = Fixture::created(On::File, &r).await;
    for round in ["insert", "equal"] {
        let began = Instant::now();
        let mut batches = vec![Batch::new(5)];
        for start in (0..1_000_000).step_by(1000) {
            let rows = &mut batches[0];
            rows.reset(5);
            for id in start..start + 1000 {
                rows.push_int(id);
                rows.push_text_with(|bytes| bytes.extend_from_slice(format!("name {id}").as_bytes()));
                rows.push_real(0.5);
                rows.push_text(b"a note of some length, as notes are");
                rows.push_text(b"2026-01-01T00:00:00.000000Z");
            }
            batches = f.target.write(&r, Write::Upsert, false, batches, &state(&r)).await.unwrap().1;
        }
        println!("{round}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    f.target.begin_stage(&r).await.unwrap();
    let mut keys = vec![Batch::new(1)];
    for start in (0..1_000_000).step_by(1000) {
        keys[0].reset(1);
        (start..start + 1000).for_each(|id| keys[0].push_int(id));
        keys = f.target.stage(&r, keys).await.unwrap();
    }
    let difference = f.target.compare(&r, Lane::All).await.unwrap();
    assert_eq!(difference, KeyDifference { staged: 1_000_000, present: 1_000_000, extra: 0 });
    println!("stage and compare: {:?}", began.elapsed());
    assert_eq!(f.counts().await.0, 1_000_000);
}

/// Values of every kind in columns of every type: both targets have the same, to the last bit.
#[tokio::test]
async fn both_targets_keep_the_same_cells() {
    let columns: Vec<(String, SqliteType)> =
        (0..8).map(|index| (format!("c{index}"), [Integer, Real, Text, Blob][index % 4])).collect();
    let mut named = vec![("id", Integer)];
    named.extend(columns.iter().map(|(name, sqlite)| (name.as_str(), *sqlite)));
    let r = Arc::new(replica("t", &named, &[0], &[]));
    let (file, deployed) = (Fixture::created(On::File, &r).await, Fixture::created(On::Deployed, &r).await);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut value = move || match random.u8(..12) {
        0 => Value::Null,
        1 => i(random.i64(..)),
        2 => i([0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1][random.usize(..7)]),
        3 => Value::Real(random.f64() * 10_f64.powi(random.i32(-20..20))),
        4 => Value::Real(f64::from_bits(random.u64(..))),
        5 => Value::Real(
            [0.0, -0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY][random.usize(..7)],
        ),
        6 => Value::Blob((0..random.usize(..20)).map(|_| random.u8(..)).collect()),
        7 => t(["", "12", "1.50", "-0", " 7", "0x10", "true", "null", "[\"b\",\"00\"]", "1e400"][random.usize(..10)]),
        8 => t("a\0b \u{1}\u{7f}\u{2028} \" \\ ' \r\n\t"),
        _ => t(&(0..random.usize(..12)).map(|_| random.char(..)).collect::<String>()),
    };
    let mut rows: Vec<Vec<Value>> =
        (0..4_000).map(|id| std::iter::once(i(id)).chain((0..8).map(|_| value())).collect()).collect();
    let cells = |f: &Fixture| -> Vec<String> {
        let conn = f.sql();
        let mut statement = conn.prepare("SELECT * FROM t ORDER BY id").unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            let cell = |index| match row.get_ref(index).unwrap() {
                rusqlite::types::ValueRef::Real(real) => format!("real {:x}", real.to_bits()),
                other => format!("{other:?}"),
            };
            Ok((0..9).map(cell).collect::<Vec<_>>().join(" "))
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    for round in 0..2 {
        let slices: Vec<&[Value]> = rows.iter().map(Vec::as_slice).collect();
        let done = file.put(&r, Write::Upsert, &slices).await;
        assert_eq!(done, deployed.put(&r, Write::Upsert, &slices).await, "round {round}");
        assert_eq!(deployed.put(&r, Write::Upsert, &slices).await, changes(0, 0, 0), "round {round}");
        for (left, right) in cells(&file).iter().zip(cells(&deployed)) {
            assert_eq!(*left, right);
        }
        for row in &mut rows {
            row[1 + usize::from(fastrand::u8(..8))] = value();
        }
    }
}
