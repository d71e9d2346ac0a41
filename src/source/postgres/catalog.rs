//! What PostgreSQL's catalog says about tables.

use serde::Deserialize;

use super::kind::{CatalogType, ColumnType};
use super::literal::{quote, string};
use crate::schema::{Column, Relation, Table, TableName};

/// The base tables in every schema that isn't PostgreSQL's own: schema, name, whether the role may read it.
pub const TABLES: &str = "SELECT n.nspname::text, c.relname::text, \
    (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
    AND pg_catalog.left(n.nspname::text, 3) <> 'pg_' AND n.nspname <> 'information_schema' \
    ORDER BY 1, 2";

/// Everything about one relation as one JSON document.
pub fn describe(schema: &str, name: &str) -> String {
    format!(
        "WITH RECURSIVE relation AS (SELECT c.* FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')){DESCRIBE}",
        string(schema),
        string(name),
    )
}

/// What tells whether a plain table is still what [`describe`] said: the versions of the catalog's rows about it, as one
/// text. No row for anything but a plain table, and not the whole story where [`Details::settled`] is false.
///
/// Without joins, because planning them would take the server several times what the rest of this does: asking takes a
/// tenth of the time that describing the table takes.
pub fn version(schema: &str, name: &str) -> String {
    format!(
        "SELECT pg_catalog.concat_ws(',', c.oid, c.xmin, c.reltuples, \
         ARRAY(SELECT a.xmin FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
         ORDER BY a.attnum), \
         ARRAY(SELECT t.xmin FROM pg_catalog.pg_type t WHERE t.oid = ANY (ARRAY(SELECT a.atttypid \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)) ORDER BY t.oid), \
         ARRAY(SELECT i.xmin FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid ORDER BY i.indexrelid), \
         ARRAY(SELECT k.xmin FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid ORDER BY k.oid)) \
         FROM pg_catalog.pg_class c WHERE c.relname = {} AND c.relkind = 'r' \
         AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = {})",
        string(name),
        string(schema),
    )
}

/// How far the rows of a plain table are stored in the order of a column, from -1 to 1, as text; no row where statistics
/// don't say.
pub fn correlation(schema: &str, table: &str, column: &str) -> String {
    format!(
        "SELECT s.correlation::text FROM pg_catalog.pg_stats s \
         WHERE s.schemaname = {} AND s.tablename = {} AND s.attname = {} AND NOT s.inherited AND s.correlation IS NOT NULL",
        string(schema),
        string(table),
        string(column),
    )
}

/// The type of `expression` over `from`, and its elements' where it is an array, as one JSON document. The rows are not asked:
/// of none, a value is NULL and still has its type. As a condition, too: there the server refuses what says nothing of a row by
/// itself, such as aggregates, windows and sets of rows.
pub fn computed(expression: &str, from: &str) -> String {
    format!(
        "WITH RECURSIVE chain(typid, depth) AS ( \
           SELECT pg_catalog.pg_typeof((SELECT ({expression}\n) {from} \
             WHERE ({expression}\n) IS NULL LIMIT 0))::pg_catalog.oid, 0 \
           UNION ALL SELECT t.typbasetype, c.depth + 1 FROM chain c JOIN pg_catalog.pg_type t ON t.oid = c.typid \
           WHERE t.typtype = 'd' \
         ) SELECT pg_catalog.json_build_object( \
           'declared', pg_catalog.format_type(t.oid, NULL), 'type_name', t.typname, \
           'base', pg_catalog.json_build_object('oid', t.oid::pg_catalog.int8, 'name', t.typname, 'typtype', t.typtype, \
             'typmod', -1, 'sql', pg_catalog.format_type(t.oid, -1)), \
           'element', CASE WHEN e.oid IS NOT NULL THEN pg_catalog.json_build_object('oid', e.oid::pg_catalog.int8, \
             'name', e.typname, 'typtype', e.typtype, 'typmod', -1, 'sql', pg_catalog.format_type(e.oid, -1)) END \
         )::text FROM chain c JOIN pg_catalog.pg_type t ON t.oid = c.typid \
         LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid \
         ORDER BY c.depth DESC LIMIT 1"
    )
}

#[derive(Deserialize)]
struct ComputedType {
    declared: String,
    type_name: String,
    base: CatalogType,
    element: Option<CatalogType>,
}

/// Reads the answer to [`computed`]: the type as it is printed, its name, and how it is read.
pub fn computed_type(answer: &str) -> serde_json::Result<(String, String, ColumnType)> {
    let ComputedType { declared, type_name, base, element } = serde_json::from_str(answer)?;
    Ok((declared, type_name, ColumnType::new(&base, element.as_ref())))
}

// By `pg_inherits`, not by `pg_partition_tree`: that would lock every partition until the transaction ends.
const DESCRIBE: &str = "
, part(oid) AS (
  SELECT i.inhrelid FROM relation c JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid WHERE c.relkind = 'p'
  UNION ALL
  SELECT i.inhrelid FROM part p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid
), leaf AS (
  SELECT l.relkind, l.reltuples, l.relpages, m.amname
  FROM part p JOIN pg_catalog.pg_class l ON l.oid = p.oid LEFT JOIN pg_catalog.pg_am m ON m.oid = l.relam
  WHERE l.relkind <> 'p'
  UNION ALL
  SELECT c.relkind, c.reltuples, c.relpages, m.amname
  FROM relation c LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam WHERE c.relkind <> 'p'
), attribute AS (
  SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated AND k.conkey = ARRAY[a.attnum]
  ) AS filled
  FROM pg_catalog.pg_attribute a JOIN relation c ON c.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
), chain(attnum, typid, typmod, filled, depth) AS (
  SELECT attnum, atttypid, atttypmod, filled, 0 FROM attribute
  UNION ALL
  SELECT b.attnum, t.typbasetype, CASE WHEN b.typmod = -1 THEN t.typtypmod ELSE b.typmod END,
    b.filled OR t.typnotnull, b.depth + 1
  FROM chain b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd'
), base AS (
  SELECT DISTINCT ON (attnum) attnum, typid, typmod, filled FROM chain ORDER BY attnum, depth DESC
), element_chain(attnum, typid, typmod, depth) AS (
  SELECT b.attnum, e.oid, b.typmod, 0
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid
  JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
  UNION ALL
  SELECT b.attnum, t.typbasetype, CASE WHEN b.typmod = -1 THEN t.typtypmod ELSE b.typmod END, b.depth + 1
  FROM element_chain b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd'
), element AS (
  SELECT DISTINCT ON (attnum) attnum, typid, typmod FROM element_chain ORDER BY attnum, depth DESC
), index AS (
  SELECT i.indisprimary, i.indisunique, i.indpred IS NOT NULL AS partial, x.relname, m.amname, i.indnkeyatts, k.columns,
    k.filled
  FROM relation c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
  CROSS JOIN LATERAL (
    SELECT pg_catalog.json_agg(a.attname ORDER BY u.place) AS columns,
      pg_catalog.bool_and(COALESCE(b.filled, false)) AS filled
    FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY u(attnum, place)
    LEFT JOIN attribute a ON a.attnum = u.attnum LEFT JOIN base b ON b.attnum = u.attnum
    WHERE u.place <= i.indnkeyatts
  ) k
  WHERE i.indisvalid
)
SELECT pg_catalog.json_build_object(
  'oid', c.oid::pg_catalog.int8,
  'relkind', c.relkind,
  'rows', (SELECT CASE WHEN pg_catalog.bool_and(reltuples > 0 OR reltuples = 0 AND relpages > 0)
    THEN pg_catalog.sum(reltuples)::pg_catalog.int8 END FROM leaf),
  'sees_changes', c.relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM leaf WHERE relkind <> 'r' OR amname IS DISTINCT FROM 'heap'),
  'columns', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname,
      'declared', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'type_name', t.typname,
      'filled', b.filled,
      'of_domain', t.typtype = 'd' OR EXISTS (
        SELECT FROM pg_catalog.pg_type i WHERE i.oid = bt.typelem AND i.typtype = 'd'),
      'base', pg_catalog.json_build_object('oid', b.typid::pg_catalog.int8, 'name', bt.typname, 'typtype', bt.typtype,
        'typmod', b.typmod, 'sql', pg_catalog.format_type(b.typid, -1)),
      'element', CASE WHEN e.typid IS NOT NULL THEN pg_catalog.json_build_object('oid', e.typid::pg_catalog.int8,
        'name', et.typname, 'typtype', et.typtype, 'typmod', e.typmod, 'sql', pg_catalog.format_type(e.typid, -1)) END
    ) ORDER BY a.attnum), '[]')
    FROM attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN base b ON b.attnum = a.attnum JOIN pg_catalog.pg_type bt ON bt.oid = b.typid
    LEFT JOIN element e ON e.attnum = a.attnum LEFT JOIN pg_catalog.pg_type et ON et.oid = e.typid),
  'key', (SELECT columns FROM index
    WHERE indisprimary OR indisunique AND NOT partial AND filled
    ORDER BY indisprimary DESC, indnkeyatts, relname LIMIT 1),
  'indexes', (SELECT COALESCE(pg_catalog.json_agg(columns ORDER BY relname), '[]') FROM index
    WHERE NOT partial AND amname = 'btree')
)::text FROM relation c";

#[derive(Deserialize)]
struct Described {
    oid: u32,
    relkind: String,
    rows: Option<u64>,
    sees_changes: bool,
    columns: Vec<DescribedColumn>,
    key: Option<Vec<String>>,
    /// `None` stands for an expression.
    indexes: Vec<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct DescribedColumn {
    name: String,
    declared: String,
    type_name: String,
    filled: bool,
    of_domain: bool,
    base: CatalogType,
    element: Option<CatalogType>,
}

/// Where a relation's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In files of its own.
    Own,
    /// In its partitions' files.
    Partitions,
    /// In other relations, or in another database.
    Elsewhere,
}

/// What reading a table takes beyond what [`Table`] says.
#[derive(Debug, Clone)]
pub struct Details {
    /// Its number.
    pub oid: u32,
    /// Where its rows are.
    pub storage: Storage,
    /// Whether all that was said of it stands in the catalog's rows about it and its columns' types: not what a domain is
    /// made of.
    pub settled: bool,
    /// Whether an index begins with an expression.
    pub indexed_expression: bool,
    /// `FROM` with the relation. A plain table's inheritance children are tables of their own.
    pub from: String,
    columns: Vec<(String, ColumnType)>,
}

impl Details {
    /// Adds how the computed column `name` is read.
    pub fn compute(&mut self, name: &str, read_as: ColumnType) {
        self.columns.retain(|(each, _)| each != name);
        self.columns.push((name.to_owned(), read_as));
    }

    /// How the column called `name` is read.
    pub fn column(&self, name: &str) -> Option<&ColumnType> {
        self.columns.iter().find(|(each, _)| each == name).map(|(_, column)| column)
    }
}

/// Reads the answer to [`describe`].
pub fn table(name: TableName, answer: &str) -> serde_json::Result<(Table, Details)> {
    let described: Described = serde_json::from_str(answer)?;
    let settled = !described.columns.iter().any(|column| column.of_domain);
    let mut columns = Vec::with_capacity(described.columns.len());
    let mut types = Vec::with_capacity(described.columns.len());
    for column in described.columns {
        let read_as = ColumnType::new(&column.base, column.element.as_ref());
        columns.push(Column {
            name: column.name.clone(),
            declared: column.declared,
            type_name: column.type_name,
            kind: read_as.kind.clone(),
            nullable: !column.filled,
            on_request: false,
            expression: None,
        });
        types.push((column.name, read_as));
    }
    let indexed_expression = described.indexes.iter().any(|index| index.first().is_some_and(Option::is_none));
    let relation = match described.relkind.as_str() {
        "r" | "p" => Relation::Table,
        _ => Relation::View,
    };
    let only = if described.relkind == "r" { "ONLY " } else { "" };
    let schema = name.schema.as_deref().unwrap_or("public");
    let details = Details {
        oid: described.oid,
        storage: match described.relkind.as_str() {
            "r" | "m" => Storage::Own,
            "p" => Storage::Partitions,
            _ => Storage::Elsewhere,
        },
        settled,
        indexed_expression,
        from: format!("FROM {only}{}.{}", quote(schema), quote(&name.name)),
        columns: types,
    };
    let table = Table {
        name,
        relation,
        columns,
        key: described.key.unwrap_or_default(),
        key_collations: None,
        estimated_rows: described.rows,
        indexes: described
            .indexes
            .into_iter()
            .map(|index| index.into_iter().map_while(|column| column).collect::<Vec<_>>())
            .filter(|index| !index.is_empty())
            .collect(),
        sees_changes: described.sees_changes,
        grows: false,
        numbered: false,
    };
    Ok((table, details))
}
