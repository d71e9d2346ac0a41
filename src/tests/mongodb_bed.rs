//! MongoDB for the contract suite: the key column is `_id`, a NULL is by turns a null and no field at all.
use async_trait::async_trait;
use futures_util::StreamExt as _;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Collection, Database};
use serde_json::{Value, json};

use crate::mapping::time::instant_text;

use super::bed::{Bed, Datum, Holds, Open, Row, Shape};

/// The variable that names the servers: URLs of a user who may do everything, separated by whitespace.
const SERVERS: &str = "DATA_SYNC_TEST_MONGODB";

/// The servers' URLs.
pub fn servers() -> Vec<String> {
    let servers = std::env::var(SERVERS)
        .unwrap_or_else(|_| panic!("{SERVERS} is not set: this test needs MongoDB, run it by `npm test`"));
    servers.split_whitespace().map(str::to_owned).collect()
}

/// A database of a test's own.
pub struct TestDatabase {
    /// The database, by a client that is not the source's.
    pub database: Database,
    /// The connection string that names it.
    pub uri: String,
}

impl TestDatabase {
    /// A new one on a server. What asks for the rest of a replica set would go round a proxy, so only the server that is
    /// named is asked.
    pub async fn new(server: &str) -> Self {
        let name = format!("data_sync_test_{:016x}", fastrand::u64(..));
        let (before, options) = server.split_once('?').unwrap_or((server, ""));
        let options = if options.is_empty() { String::new() } else { format!("&{options}") };
        let uri = format!("{}/{name}?directConnection=true{options}", before.trim_end_matches('/'));
        let client = Client::with_uri_str(&uri).await.unwrap();
        Self { database: client.database(&name), uri }
    }
}

struct MongodbBed {
    test: TestDatabase,
}

/// An empty database on the first server; the others only ask for passwords.
pub async fn beds() -> Vec<Box<dyn Bed>> {
    make(servers().into_iter().take(1)).await
}

/// An empty database on every server that asks for a password.
pub async fn guarded_beds() -> Vec<Box<dyn Bed>> {
    make(servers().into_iter().filter(|server| server.contains('@'))).await
}

async fn make(servers: impl Iterator<Item = String>) -> Vec<Box<dyn Bed>> {
    let mut beds: Vec<Box<dyn Bed>> = Vec::new();
    for server in servers {
        beds.push(Box::new(MongodbBed { test: TestDatabase::new(&server).await }));
    }
    beds
}

fn value(datum: &Datum) -> Bson {
    match datum {
        Datum::Null => Bson::Null,
        Datum::Int(value) => Bson::Int64(*value),
        Datum::Text(text) => Bson::String(text.clone()),
        Datum::Instant(micros) => Bson::DateTime(DateTime::from_millis(micros.div_euclid(1000))),
    }
}

/// What a column is called in the documents of `shape`.
fn field(shape: &Shape, column: &str) -> String {
    match shape.key.as_slice() {
        [key] if *key == column => "_id".to_owned(),
        keys if keys.len() > 1 && keys.contains(&column) => format!("_id.{column}"),
        _ => column.to_owned(),
    }
}

fn document(shape: &Shape, row: &Row, index: usize) -> Document {
    let mut document = Document::new();
    if shape.key.len() > 1 {
        document.insert("_id", shape.key.iter().map(|key| ((*key).to_owned(), value(&row[key]))).collect::<Document>());
    }
    for (name, _) in &shape.columns {
        let field = field(shape, name);
        let datum = row.get(name).unwrap_or(&Datum::Null);
        if field.contains('.') || *datum == Datum::Null && index % 2 == 1 {
            continue;
        }
        document.insert(field, value(datum));
    }
    document
}

fn condition(shape: &Shape, row: &Row) -> Document {
    row.iter().map(|(name, datum)| (field(shape, name), value(datum))).collect()
}

async fn insert(collection: &Collection<Document>, shape: &Shape, rows: &[Row]) {
    let documents: Vec<_> = rows.iter().enumerate().map(|(index, row)| document(shape, row, index)).collect();
    collection.insert_many(documents).await.unwrap();
}

impl MongodbBed {
    fn collection(&self, shape: &Shape) -> Collection<Document> {
        self.test.database.collection(shape.name)
    }
}

#[async_trait]
impl Bed for MongodbBed {
    fn source(&self) -> Value {
        json!({ "type": "mongodb", "uri": self.test.uri })
    }

    fn id(&self) -> &'static str {
        "_id"
    }

    // The stand-in goes through a whole collection for every question.
    fn is_slow(&self) -> bool {
        true
    }

    fn sees_changes(&self) -> bool {
        false
    }

    fn always_keyed(&self) -> bool {
        true
    }

    fn grows(&self) -> bool {
        true
    }

    fn cell(&self, shape: &Shape, column: &str) -> String {
        match field(shape, column).split_once('.') {
            Some((id, part)) => format!("json_extract(\"{id}\", '$.{part}')"),
            None => format!("\"{}\"", field(shape, column)),
        }
    }

    fn filter(&self, column: &str, operator: &str, value: i64) -> String {
        let operator = match operator {
            "=" => "$eq",
            "<" => "$lt",
            ">=" => "$gte",
            other => panic!("no operator {other}"),
        };
        json!({ column: { operator: value } }).to_string()
    }

    fn resolution(&self) -> i64 {
        1_000
    }

    fn instant(&self, micros: i64) -> String {
        instant_text(micros, 3)
    }

    async fn create(&self, shape: &Shape) {
        self.test.database.create_collection(shape.name).await.unwrap();
    }

    // A collection has no columns: fields come with the documents that have them, and a field that is taken away leaves the
    // replica its column.
    async fn add_column(&self, _: &Shape, _: &str, _: Holds) {}

    async fn drop_column(&self, _: &Shape, _: &str) -> bool {
        false
    }

    async fn insert(&self, shape: &Shape, rows: &[Row]) {
        insert(&self.collection(shape), shape, rows).await;
    }

    async fn update(&self, shape: &Shape, key: &Row, change: &Row) {
        let collection = self.collection(shape);
        let mut set = Document::new();
        let mut unset = Document::new();
        for (name, datum) in change.iter().filter(|(name, _)| !shape.key.contains(name)) {
            if *datum == Datum::Null && fastrand::bool() {
                unset.insert(field(shape, name), "");
            } else {
                set.insert(field(shape, name), value(datum));
            }
        }
        let mut update = Document::new();
        for (operator, changes) in [("$set", set), ("$unset", unset)] {
            if !changes.is_empty() {
                update.insert(operator, changes);
            }
        }
        if !update.is_empty() {
            collection.update_many(condition(shape, key), update).await.unwrap();
        }
        // An `_id` never changes: the document is another one then.
        if let Some(id) = shape.key.first().and_then(|key| change.get(key)) {
            let mut document = collection.find_one_and_delete(condition(shape, key)).await.unwrap().unwrap();
            document.insert("_id", value(id));
            collection.insert_one(document).await.unwrap();
        }
    }

    async fn delete(&self, shape: &Shape, key: &Row) {
        self.collection(shape).delete_many(condition(shape, key)).await.unwrap();
    }

    /// The server that stands in for MongoDB has no transactions whose rows others don't see yet, so the rows are held
    /// back here until the commit, which to a reader is the same.
    async fn insert_late(&self, shape: &Shape, rows: &[Row]) -> Box<dyn Open> {
        Box::new(MongodbOpen { collection: self.collection(shape), shape: shape.clone(), rows: rows.to_vec() })
    }

    async fn dump(&self, shape: &Shape) -> Vec<Vec<Option<String>>> {
        let mut documents = self.collection(shape).find(doc! {}).await.unwrap();
        let mut dump = Vec::new();
        while let Some(document) = documents.next().await {
            let document = document.unwrap();
            let cells = shape.columns.iter().map(|(name, holds)| {
                let path = field(shape, name);
                let value = match path.split_once('.') {
                    Some((id, part)) => document.get_document(id).unwrap().get(part),
                    None => document.get(&path),
                };
                match (holds, value?) {
                    (_, Bson::Null) => None,
                    (Holds::Int, Bson::Int64(value)) => Some(value.to_string()),
                    (Holds::Text, Bson::String(text)) => Some(text.clone()),
                    (Holds::Instant, Bson::DateTime(value)) => Some(instant_text(value.timestamp_millis() * 1_000, 3)),
                    (holds, value) => panic!("{value:?} is no {holds:?}"),
                }
            });
            dump.push(cells.collect());
        }
        dump.sort();
        dump
    }

    async fn execute(&self, command: &str) {
        let command: Document = serde_json::from_str(command).unwrap();
        self.test.database.run_command(command).await.unwrap();
    }

    async fn drop_all(self: Box<Self>) {
        self.test.database.drop().await.unwrap();
    }
}

struct MongodbOpen {
    collection: Collection<Document>,
    shape: Shape,
    rows: Vec<Row>,
}

#[async_trait]
impl Open for MongodbOpen {
    async fn execute(&mut self, command: &str) {
        panic!("nothing can be done within a transaction that is none: {command}");
    }

    async fn commit(self: Box<Self>) {
        insert(&self.collection, &self.shape, &self.rows).await;
    }
}
