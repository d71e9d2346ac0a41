//! What the information schema says about tables.

use super::kind::{ColumnType, Declared, WIDE};
use super::sql::{quote, string};
use crate::schema::{Column, KnownColumn, Relation, Table, TableName};

/// The base tables in every schema that isn't the server's own: schema, name, whether the role may read it.
pub const TABLES: &str = "SELECT t.table_schema, t.table_name, EXISTS (SELECT 1 FROM information_schema.columns c \
    WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name AND FIND_IN_SET('select', c.privileges)) \
    FROM information_schema.tables t WHERE t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
    AND t.table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1, 2";

/// Three statements about one relation: itself, its columns, its indexes. Each begins its rows with a letter.
pub fn describe(schema: &str, name: &str) -> String {
    // Names are looked up in a collation that folds case, also where the server tells names apart by it.
    let this = format!(
        "table_schema = {schema} AND table_name = {name} \
         AND (@@lower_case_table_names > 0 OR BINARY table_name = BINARY {name})",
        schema = string(schema),
        name = string(name)
    );
    format!(
        "SELECT 't', table_type, CAST(table_rows AS CHAR) FROM information_schema.tables WHERE {this}; \
         SELECT 'c', column_name, data_type, column_type, is_nullable, CAST(numeric_precision AS CHAR), \
         CAST(numeric_scale AS CHAR), CAST(datetime_precision AS CHAR) \
         FROM information_schema.columns WHERE {this} ORDER BY ordinal_position; \
         SELECT 'i', index_name, CAST(non_unique AS CHAR), column_name, CAST(sub_part AS CHAR), index_type \
         FROM information_schema.statistics WHERE {this} ORDER BY index_name, seq_in_index"
    )
}

/// A row of the answer, every cell as text.
pub type Answer = Vec<Option<String>>;

/// What reading a table takes beyond what [`Table`] says.
#[derive(Debug, Clone)]
pub struct Details {
    /// The relation as SQL.
    pub relation: String,
    /// The columns of the primary key, whose index is the table itself.
    pub primary: Vec<String>,
    columns: Vec<(String, ColumnType)>,
}

impl Details {
    /// Adds how the computed column `name` is read.
    pub fn compute(&mut self, name: &str, read_as: ColumnType) {
        self.columns.retain(|(each, _)| each != name);
        self.columns.push((name.to_owned(), read_as));
    }

    /// How the column called `name` is read.
    pub fn column(&self, name: &str) -> Option<ColumnType> {
        self.columns.iter().find(|(each, _)| each == name).map(|(_, column)| column.clone())
    }
}

/// The type that a driver's name of one stands for, such as `BIGINT UNSIGNED`: its declaration, its name, how it is read;
/// `is_text` where it has characters. An expression has no declared sizes: a fraction of a second has as many digits as there
/// can be, and decimals and integers without a sign stay exact as text.
pub fn computed_type(name: &str, is_text: bool) -> (String, String, ColumnType) {
    let name = name.to_ascii_lowercase();
    let data_type = match name.split(' ').next().unwrap_or_default() {
        "boolean" => "tinyint",
        "null" => "varchar",
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" if is_text => "longtext",
        word => word,
    };
    let declared = Declared { data_type, column_type: &name, precision: None, scale: None, fraction: Some(6) };
    let (type_name, read_as) = (declared.type_name(), ColumnType::new(declared, true));
    (type_name.clone(), type_name, read_as)
}

#[derive(Default)]
struct Index {
    name: String,
    unique: bool,
    ordered: bool,
    /// `None` stands for an expression, `true` for a part of a column only.
    columns: Vec<(Option<String>, bool)>,
}

/// Reads the answer to [`describe`]; `None` when there is no such table. `wide` says which columns were seen to hold
/// integers beyond SQLite's.
pub fn table(
    name: TableName,
    answer: &[Answer],
    known: &[KnownColumn],
    wide: impl Fn(&str) -> bool,
) -> Option<(Table, Details)> {
    let rows = |letter: &'static str| answer.iter().filter(move |row| cell(row, 0) == Some(letter));
    let relation = rows("t").next()?;
    let (mut columns, mut types) = (Vec::new(), Vec::new());
    for row in rows("c") {
        let (Some(column), Some(data_type), Some(column_type)) = (cell(row, 1), cell(row, 2), cell(row, 3)) else {
            continue;
        };
        let number = |index: usize| cell(row, index).and_then(|text| text.parse().ok());
        let data_type = data_type.to_ascii_lowercase();
        let declared = Declared {
            data_type: &data_type,
            column_type,
            precision: number(5),
            scale: number(6),
            fraction: cell(row, 7).and_then(|text| text.parse().ok()),
        };
        let was_wide = known.iter().any(|known| known.name == column && known.declared.ends_with(WIDE));
        let narrow = ColumnType::new(declared, false);
        let is_wide = narrow.may_outgrow() && (was_wide || wide(column));
        let read_as = ColumnType::new(declared, is_wide);
        columns.push(Column {
            name: column.to_owned(),
            declared: format!("{column_type}{}", if is_wide { WIDE } else { "" }),
            type_name: declared.type_name(),
            kind: read_as.kind.clone(),
            nullable: cell(row, 4) != Some("NO"),
            on_request: false,
            expression: None,
        });
        types.push((column.to_owned(), read_as));
    }
    let indexes = indexes(rows("i"));
    let key = key(&indexes, &columns);
    let primary = indexes.iter().find(|index| index.name == "PRIMARY").map(names).unwrap_or_default();
    let schema = name.schema.as_deref().unwrap_or_default();
    let details = Details { relation: format!("{}.{}", quote(schema), quote(&name.name)), primary, columns: types };
    let table = Table {
        name,
        relation: if cell(relation, 1).is_some_and(|kind| kind.contains("VIEW")) {
            Relation::View
        } else {
            Relation::Table
        },
        columns,
        key,
        key_collations: None,
        estimated_rows: cell(relation, 2).and_then(|rows| rows.parse().ok()),
        indexes: indexes
            .iter()
            .filter(|index| index.ordered)
            .map(|index| {
                index.columns.iter().map_while(|(name, part)| name.clone().filter(|_| !part)).collect::<Vec<_>>()
            })
            .filter(|columns| !columns.is_empty())
            .collect(),
        sees_changes: false,
        grows: false,
        numbered: false,
    };
    Some((table, details))
}

fn cell(row: &Answer, index: usize) -> Option<&str> {
    row.get(index).and_then(Option::as_deref)
}

fn indexes<'a>(rows: impl Iterator<Item = &'a Answer>) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::new();
    for row in rows {
        let name = cell(row, 1).unwrap_or_default();
        if indexes.last().is_none_or(|index| index.name != name) {
            indexes.push(Index {
                name: name.to_owned(),
                unique: cell(row, 2) == Some("0"),
                ordered: cell(row, 5) == Some("BTREE"),
                columns: Vec::new(),
            });
        }
        if let Some(index) = indexes.last_mut() {
            index.columns.push((cell(row, 3).map(str::to_owned), cell(row, 4).is_some()));
        }
    }
    indexes
}

fn names(index: &Index) -> Vec<String> {
    index.columns.iter().filter_map(|(name, _)| name.clone()).collect()
}

/// The primary key, else the shortest unique index over columns without NULLs. What is unique in its first characters
/// already is unique as a whole.
fn key(indexes: &[Index], columns: &[Column]) -> Vec<String> {
    let filled = |name: &String| columns.iter().any(|column| column.name == *name && (!column.nullable));
    let usable =
        |index: &&Index| index.unique && index.columns.iter().all(|(name, _)| name.as_ref().is_some_and(filled));
    let best = indexes.iter().filter(usable).min_by_key(|index| (index.name != "PRIMARY", index.columns.len()));
    best.map(names).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&str>]) -> Answer {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    fn described(indexes: &[Answer]) -> Table {
        let column = |name: &str, nullable: &str| {
            row(&[Some("c"), Some(name), Some("int"), Some("int(11)"), Some(nullable), Some("10"), Some("0"), None])
        };
        let mut answer = vec![row(&[Some("t"), Some("BASE TABLE"), Some("7")])];
        answer.extend([column("a", "NO"), column("b", "NO"), column("c", "YES")]);
        answer.extend_from_slice(indexes);
        let name = TableName { schema: Some("s".to_owned()), name: "t".to_owned() };
        table(name, &answer, &[], |_| false).unwrap().0
    }

    fn index(name: &str, unique: &str, column: Option<&str>, part: Option<&str>) -> Answer {
        row(&[Some("i"), Some(name), Some(unique), column, part, Some("BTREE")])
    }

    #[test]
    fn the_key_is_what_tells_rows_apart() {
        assert_eq!(described(&[]).key, Vec::<String>::new());
        assert_eq!(described(&[index("u", "0", Some("c"), None)]).key, Vec::<String>::new(), "it may be NULL");
        assert_eq!(described(&[index("u", "0", None, None)]).key, Vec::<String>::new(), "an expression");
        assert_eq!(described(&[index("n", "1", Some("a"), None)]).key, Vec::<String>::new(), "not unique");
        let both = [
            index("PRIMARY", "0", Some("a"), None),
            index("PRIMARY", "0", Some("b"), None),
            index("u", "0", Some("b"), None),
        ];
        assert_eq!(described(&both).key, ["a", "b"]);
        assert_eq!(described(&both[2..]).key, ["b"]);
        assert_eq!(described(&[index("u", "0", Some("a"), Some("10"))]).key, ["a"], "its beginning is unique");
    }

    #[test]
    fn an_index_counts_as_far_as_it_holds_whole_columns() {
        let table = described(&[
            index("n", "1", Some("a"), None),
            index("n", "1", Some("b"), Some("10")),
            index("m", "1", Some("c"), Some("10")),
        ]);
        assert_eq!(table.indexes, [["a"]]);
        assert_eq!(table.estimated_rows, Some(7));
    }
}
