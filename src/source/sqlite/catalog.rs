//! What the database says about its tables.

use std::collections::{HashMap, HashSet};

use super::sql::{Sql, quote, text};
use crate::batch::{Batch, Value};
use crate::schema::{Column, Relation, SourceType, Table, TableName};

/// The base tables, by name. Those that the systems keep for themselves are left out.
pub fn tables() -> Sql {
    Sql::plain(
        "SELECT name AS c0 FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'tmp\\_%' ESCAPE '\\' \
         AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name",
    )
}

/// How many cells a row of the answer to [`tables`] has.
pub const TABLES_WIDTH: usize = 1;

/// One relation: itself, its columns, its unique and other indexes. Each row begins with a letter.
pub fn describe(name: &str) -> Sql {
    let piece = |sql: &str| Sql::plain(sql).then(text(name));
    let collates = piece("SELECT 't' AS c0, type AS c1, wr AS c2, strict AS c3, EXISTS (SELECT 1 FROM sqlite_schema WHERE sql LIKE '%collate%' AND tbl_name = ")
        .text(" COLLATE NOCASE) AS c4, 0 AS c5, 0 AS c6 FROM pragma_table_list WHERE schema = 'main' AND name = ");
    collates
        .then(text(name))
        .text(" UNION ALL ")
        .then(piece("SELECT 'c', cid, name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo("))
        .text(") UNION ALL ")
        .then(piece(
            "SELECT 'i', il.name, il.\"unique\", il.partial, ii.seqno, ii.name, ii.coll FROM pragma_index_list(",
        ))
        .text(") AS il, pragma_index_xinfo(il.name) AS ii WHERE ii.key")
}

/// How many cells a row of the answer to [`describe`] has.
pub const DESCRIBED_WIDTH: usize = 7;

/// `expressions` over no row of a table. As conditions, too: there the database refuses what says nothing of a row by itself,
/// such as aggregates and windows.
pub fn computed(table: &str, expressions: &[&str]) -> Sql {
    let outputs = expressions.iter().enumerate();
    // A line end, so that a comment at its end hides nothing of ours.
    let outputs: Vec<String> = outputs.map(|(index, expression)| format!("({expression}\n) AS c{index}")).collect();
    let conditions: Vec<String> = expressions.iter().map(|expression| format!("({expression}\n) IS NULL")).collect();
    let (outputs, conditions) = (outputs.join(", "), conditions.join(" AND "));
    Sql::plain(format!("SELECT {outputs} FROM {} WHERE {conditions} LIMIT 0", quote(table)))
}

/// About how many rows there are: where rows have numbers, there are no more rows than numbers.
pub fn extent(name: &str) -> Sql {
    Sql::plain(format!("SELECT max(rowid) - min(rowid) + 1 AS c0 FROM {}", quote(name)))
}

/// How many cells a row of the answer to [`extent`] has.
pub const EXTENT_WIDTH: usize = 1;

/// The names that SQLite gives the number of a row, in the order they are tried.
const ROW_NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

struct Index {
    unique: bool,
    partial: bool,
    /// By its place; `None` stands for an expression.
    columns: Vec<(i64, Option<String>)>,
    /// In the order of the columns.
    collations: Vec<(i64, String)>,
}

/// The collations that every SQLite has (<https://sqlite.org/datatype3.html#collation>).
const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// Reads the answer to [`describe`], and says whether rows have numbers; `None` when there is no such relation.
pub fn table(name: &str, answer: &Batch) -> Option<(Table, bool)> {
    let rows: Vec<Vec<Value>> =
        (0..answer.rows()).map(|row| (0..answer.width()).map(|at| answer.value(row, at)).collect()).collect();
    let of = |letter: &'static str| rows.iter().filter(move |row| word(&row[0]) == letter);
    let relation = of("t").next()?;
    let is_table = word(&relation[1]) == "table";
    let has_rowid = is_table && number(&relation[2]) == 0;
    let is_strict = number(&relation[3]) == 1;
    let mut columns = Vec::new();
    let mut primary = Vec::new();
    for row in of("c") {
        let (name, declared) = (word(&row[2]).to_owned(), word(&row[3]).to_owned());
        let (required, place, hidden) = (number(&row[4]) == 1, number(&row[5]), number(&row[6]));
        // Hidden ones of virtual tables are arguments, no values.
        if hidden == 1 {
            continue;
        }
        if place > 0 {
            primary.push((place, name.clone()));
        }
        columns.push(column(name, declared, is_strict, !required && place == 0));
    }
    primary.sort();
    let indexes = indexes(of("i"));
    let mut key: Vec<String> = primary.into_iter().map(|(_, name)| name).collect();
    if key.is_empty() {
        key = unique(&indexes, &columns).unwrap_or_default();
    }
    let mut numbered = false;
    if key.is_empty() && has_rowid {
        let free = |name: &&&str| columns.iter().all(|column| !column.name.eq_ignore_ascii_case(name));
        if let Some(name) = ROW_NUMBERS.iter().find(free) {
            columns.insert(0, column((*name).to_owned(), "INTEGER".to_owned(), false, false));
            key = vec![(*name).to_owned()];
            numbered = true;
        }
    }
    // A view's columns are compared as the tables' below it.
    let collates = number(&relation[4]) == 1 || !is_table;
    let key_collations = collates.then(|| collations(&indexes, &key));
    // The order of the rows' numbers is the order of an index.
    let mut leading: Vec<Vec<String>> = indexes
        .iter()
        .filter(|index| !index.partial)
        .map(|index| index.columns.iter().map_while(|(_, name)| name.clone()).collect::<Vec<_>>())
        .filter(|columns| !columns.is_empty())
        .collect();
    if !key.is_empty() && !leading.contains(&key) {
        leading.push(key.clone());
    }
    let table = Table {
        name: TableName { schema: None, name: name.to_owned() },
        relation: if is_table { Relation::Table } else { Relation::View },
        columns,
        key,
        key_collations,
        estimated_rows: None,
        indexes: leading,
        sees_changes: false,
        grows: false,
        numbered,
    };
    Some((table, has_rowid))
}

fn word(value: &Value) -> &str {
    if let Value::Text(text) = value { text } else { "" }
}

fn number(value: &Value) -> i64 {
    if let Value::Int(number) = value { *number } else { 0 }
}

fn column(name: String, declared: String, is_strict: bool, nullable: bool) -> Column {
    let type_name = declared.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
    Column {
        name,
        kind: kind(&declared, is_strict),
        declared,
        type_name,
        nullable,
        on_request: false,
        expression: None,
    }
}

/// What a column's affinity makes of values (<https://sqlite.org/datatype3.html#determination_of_column_affinity>). A target
/// column of the type that stands for it treats them as the source does, so every value keeps its storage class: NUMERIC
/// differs from INTEGER in casts only.
fn kind(declared: &str, is_strict: bool) -> SourceType {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if is_strict && declared == "ANY" || declared.is_empty() {
        SourceType::Bytes
    } else if has(&["INT"]) {
        SourceType::Int
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        SourceType::Text
    } else if has(&["BLOB"]) {
        SourceType::Bytes
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        SourceType::Float64
    } else {
        SourceType::Int
    }
}

fn indexes<'a>(rows: impl Iterator<Item = &'a Vec<Value>>) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::new();
    let mut places = HashMap::new();
    for row in rows {
        let at = *places.entry(word(&row[1])).or_insert_with(|| {
            indexes.push(Index {
                unique: number(&row[2]) == 1,
                partial: number(&row[3]) == 1,
                columns: Vec::new(),
                collations: Vec::new(),
            });
            indexes.len() - 1
        });
        let column = if let Value::Text(name) = &row[5] { Some(name.clone()) } else { None };
        indexes[at].columns.push((number(&row[4]), column));
        indexes[at].collations.push((number(&row[4]), word(&row[6]).to_owned()));
    }
    for index in &mut indexes {
        index.columns.sort();
        index.collations.sort();
    }
    indexes
}

/// The collations of the index that tells rows apart by `key`. Nothing says what a column's own is, so they are named wherever
/// the table's definition has one.
fn collations(indexes: &[Index], key: &[String]) -> Vec<String> {
    let tells = |index: &&Index| {
        index.unique && !index.partial && index.columns.iter().map(|(_, name)| name.as_ref()).eq(key.iter().map(Some))
    };
    // Who reads may lack any other. By their bytes, rows differ that differ in any.
    let usable = |name: &String| {
        let known = COLLATIONS.into_iter().find(|known| name.eq_ignore_ascii_case(known));
        known.unwrap_or("BINARY").to_owned()
    };
    let index = indexes.iter().find(tells);
    index.map(|index| index.collations.iter().map(|(_, name)| usable(name)).collect()).unwrap_or_default()
}

/// The columns of the shortest index that tells all rows apart.
fn unique(indexes: &[Index], columns: &[Column]) -> Option<Vec<String>> {
    let filled: HashSet<&String> =
        columns.iter().filter(|column| !column.nullable).map(|column| &column.name).collect();
    let tells = |index: &&Index| {
        index.unique
            && !index.partial
            && index.columns.iter().all(|(_, name)| name.as_ref().is_some_and(|name| filled.contains(name)))
    };
    let best = indexes.iter().filter(tells).min_by_key(|index| index.columns.len())?;
    Some(best.columns.iter().filter_map(|(_, name)| name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(ddl: &str, name: &str) -> (Table, bool) {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(ddl).unwrap();
        let mut answer = Batch::new(DESCRIBED_WIDTH);
        super::super::file::rows_of(&connection, &describe(name), &mut answer).unwrap();
        table(name, &answer).expect("it is there")
    }

    #[test]
    fn the_key_is_what_tells_rows_apart() {
        for (ddl, key) in [
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "id"),
            ("CREATE TABLE t (a TEXT, b TEXT, c, PRIMARY KEY (b, a))", "b,a"),
            ("CREATE TABLE t (a TEXT, b TEXT NOT NULL UNIQUE)", "b"),
            ("CREATE TABLE t (a TEXT UNIQUE, b)", "rowid"),
            ("CREATE TABLE t (a TEXT NOT NULL); CREATE UNIQUE INDEX i ON t (a) WHERE a > 'b'", "rowid"),
            ("CREATE TABLE t (a TEXT NOT NULL); CREATE UNIQUE INDEX i ON t (lower(a))", "rowid"),
            ("CREATE TABLE t (RowId TEXT, a)", "_rowid_"),
            ("CREATE TABLE t (rowid, _rowid_, oid)", ""),
            ("CREATE TABLE t (a TEXT PRIMARY KEY, b) WITHOUT ROWID", "a"),
            ("CREATE TABLE u (a); CREATE VIEW t AS SELECT * FROM u", ""),
        ] {
            assert_eq!(described(ddl, "t").0.key.join(","), key, "{ddl}");
        }
    }

    #[test]
    fn the_keys_collations_are_its_indexs() {
        for (ddl, collations) in [
            ("CREATE TABLE t (a TEXT, b TEXT, PRIMARY KEY (a, b))", ""),
            ("CREATE TABLE t (a TEXT COLLATE NOCASE PRIMARY KEY)", "NOCASE"),
            (
                "CREATE TABLE t (a TEXT COLLATE nocase, b TEXT, PRIMARY KEY (b, a COLLATE binary)) WITHOUT ROWID",
                "BINARY,BINARY",
            ),
            ("CREATE TABLE t (a TEXT NOT NULL); CREATE UNIQUE INDEX i ON t (a COLLATE RTRIM)", "RTRIM"),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE)", ""),
            ("CREATE TABLE t (id INT PRIMARY KEY, a TEXT COLLATE NOCASE)", "BINARY"),
        ] {
            assert_eq!(described(ddl, "t").0.key_collations.unwrap_or_default().join(","), collations, "{ddl}");
        }
    }

    #[test]
    fn a_column_is_what_its_affinity_makes_of_it() {
        let (table, _) = described(
            "CREATE TABLE t (a BIGINT, b VARCHAR(9), c BLOB, d, e DOUBLE PRECISION, f DECIMAL(9,2), g DATETIME, \
             h GENERATED ALWAYS AS (a + 1) VIRTUAL, i INT GENERATED ALWAYS AS (a) STORED, j POINT NOT NULL, k ANY)",
            "t",
        );
        let kinds: Vec<_> = table.columns.iter().map(|column| format!("{}:{:?}", column.name, column.kind)).collect();
        let expected = "rowid:Int a:Int b:Text c:Bytes d:Bytes e:Float64 f:Int g:Int h:Bytes i:Int j:Int k:Int";
        assert_eq!(kinds.join(" "), expected);
        assert_eq!(table.columns[2].type_name, "varchar");
        assert!(table.columns[1].nullable && !table.columns[10].nullable);
        let (strict, _) = described("CREATE TABLE t (id INTEGER PRIMARY KEY, a ANY, b INT) STRICT", "t");
        assert_eq!(strict.columns[1].kind, SourceType::Bytes);
    }

    #[test]
    fn an_index_counts_as_far_as_it_holds_columns() {
        let (table, _) = described(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); CREATE INDEX i ON t (a, b); CREATE INDEX j ON t (b, a + 1); \
             CREATE INDEX k ON t (b) WHERE a > 1",
            "t",
        );
        let mut indexes: Vec<_> = table.indexes.iter().map(|index| index.join(",")).collect();
        indexes.sort();
        assert_eq!(indexes, ["a,b", "b", "id"]);
    }
}
