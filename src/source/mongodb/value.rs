//! From the cells of keys and positions back to the values they came from.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Uuid};

use super::date::parse_instant;
use super::kind::Pin;
use super::parse::{double, parse};
use crate::batch::Value;
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::replica::Replica;

/// The value that a column of `pin` wrote as `cell`; `None` when it can't have.
pub fn bson_of(cell: &Value, pin: Pin) -> Option<Bson> {
    if pin.is_json() {
        return match cell {
            Value::Text(text) => parse(text).ok(),
            Value::Blob(text) => parse(std::str::from_utf8(text).ok()?).ok(),
            _ => None,
        };
    }
    match (pin, cell) {
        (Pin::ObjectId, Value::Text(hex)) => ObjectId::parse_str(hex).ok().map(Bson::ObjectId),
        (Pin::ObjectId, Value::Blob(bytes)) => {
            Some(Bson::ObjectId(ObjectId::from_bytes(bytes.as_slice().try_into().ok()?)))
        }
        (Pin::Int, Value::Int(value)) => Some(Bson::Int64(*value)),
        (Pin::Int | Pin::Double, Value::Real(value)) => Some(Bson::Double(*value)),
        (Pin::Int, Value::Text(text)) => match text.parse() {
            Ok(value) => Some(Bson::Int64(value)),
            Err(_) => double(text).map(Bson::Double),
        },
        (Pin::Double, Value::Text(text)) => double(text).map(Bson::Double),
        (Pin::Decimal, Value::Text(text)) => text.parse().ok().map(Bson::Decimal128),
        (Pin::String, Value::Text(text)) => Some(Bson::String(text.clone())),
        (Pin::String, Value::Blob(text)) => String::from_utf8(text.clone()).ok().map(Bson::String),
        (Pin::Bool, Value::Int(value)) => Some(Bson::Boolean(*value != 0)),
        (Pin::Bool, Value::Text(text)) => text.parse().ok().map(Bson::Boolean),
        (Pin::Date, Value::Text(text)) => {
            parse_instant(text).map(|millis| Bson::DateTime(DateTime::from_millis(millis)))
        }
        (Pin::Binary(subtype), Value::Blob(bytes)) => Some(binary(subtype.into(), bytes)),
        (Pin::Binary(subtype), Value::Text(text)) => {
            let digits = text.strip_prefix("\\x")?;
            let pairs = (0..digits.len()).step_by(2);
            let bytes =
                pairs.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect::<Option<Vec<_>>>()?;
            Some(binary(subtype.into(), &bytes))
        }
        (Pin::Uuid | Pin::LegacyUuid, cell) => {
            let subtype = if pin == Pin::Uuid { BinarySubtype::Uuid } else { BinarySubtype::UuidOld };
            match cell {
                Value::Text(text) => Uuid::parse_str(text).ok().map(|uuid| binary(subtype, &uuid.bytes())),
                Value::Blob(bytes) => Some(binary(subtype, bytes)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

/// What a saved position holds is not what its column does.
pub fn foreign_position(replica: &Replica) -> Error {
    Error::new(Kind::SourceRead, format!("The saved position of table '{}' has another key", replica.target))
        .because("reset the table's sync state")
        .in_table(&replica.target)
}

/// Refuses a key column whose cells couldn't be turned back into the values they came from.
pub fn check_key(replica: &Replica, index: usize, pin: Pin) -> Result<()> {
    let sqlite = replica.columns[index].sqlite;
    let returns = match sqlite {
        SqliteType::Text => true,
        SqliteType::Integer => matches!(pin, Pin::Int | Pin::Bool),
        SqliteType::Real => pin == Pin::Double,
        SqliteType::Blob => !matches!(pin, Pin::Int | Pin::Double | Pin::Decimal | Pin::Bool | Pin::Date),
    };
    if returns {
        return Ok(());
    }
    let name = &replica.source.columns[replica.columns[index].source].name;
    Err(Error::new(Kind::TypeMap, format!("Cannot map external type '{}' to SQLite type", pin.declared()))
        .because(format!(
            "'{name}' is a key column, and {} can't tell all its values apart; leave it out of type_map and types, or use TEXT",
            sqlite.name()
        ))
        .in_table(&replica.target))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, doc};

    use super::*;
    use crate::batch::Batch;
    use crate::replica::{ReplicaColumn, Track};
    use crate::schema::{Column, Relation, Table, TableName};
    use crate::source::mongodb::form::push_cell;

    fn key_of(pin: Pin, sqlite: SqliteType) -> Replica {
        let column = Column {
            name: "_id".to_owned(),
            declared: pin.declared(),
            type_name: pin.type_name().to_owned(),
            kind: pin.source_type(),
            nullable: false,
            on_request: false,
            expression: None,
        };
        Replica {
            source: Table {
                name: TableName { schema: None, name: "t".to_owned() },
                relation: Relation::Table,
                columns: vec![column],
                key: vec!["_id".to_owned()],
                key_collations: None,
                estimated_rows: None,
                indexes: Vec::new(),
                sees_changes: false,
                grows: true,
                numbered: false,
            },
            target: "t".to_owned(),
            columns: vec![ReplicaColumn { source: 0, name: "_id".to_owned(), sqlite }],
            key: vec![0],
            track: Track::Whole,
            filter: None,
            soft_delete: false,
            null_zero_dates: false,
            takes_new_columns: true,
        }
    }

    #[test]
    fn every_key_is_read_back_from_its_cell() {
        let binary = |subtype: u8, bytes: &[u8]| super::binary(subtype.into(), bytes);
        let values = [
            Bson::ObjectId(ObjectId::from_bytes([1; 12])),
            Bson::Int64(i64::MIN),
            Bson::Double(-0.1),
            Bson::Double(f64::NAN),
            Bson::Decimal128("1E+3".parse().unwrap()),
            Bson::String("007 ü".to_owned()),
            Bson::Boolean(true),
            Bson::DateTime(DateTime::MIN),
            binary(0, &[0, 255]),
            binary(4, &[9; 16]),
            binary(3, &[9; 16]),
            Bson::Timestamp(mongodb::bson::Timestamp { time: 1, increment: 2 }),
            Bson::Document(doc! { "a": 1_i64, "b": [0.5] }),
        ];
        for value in values {
            let raw = RawDocumentBuf::try_from(&doc! { "v": value.clone() }).unwrap();
            let wire = raw.get("v").unwrap().unwrap();
            let pin = Pin::of(wire).unwrap();
            for sqlite in [SqliteType::Text, SqliteType::Integer, SqliteType::Real, SqliteType::Blob] {
                let replica = key_of(pin, sqlite);
                if check_key(&replica, 0, pin).is_err() {
                    continue;
                }
                let mut batch = Batch::new(1);
                push_cell(wire, pin, sqlite, true, &mut batch).unwrap();
                let back = bson_of(&batch.value(0, 0), pin).unwrap();
                // Integers of any width are equal to the server.
                let equal = match (&back, &value) {
                    (Bson::Double(back), Bson::Double(value)) => back.to_bits() == value.to_bits(),
                    (Bson::Document(back), Bson::Document(value)) => back.to_string() == value.to_string(),
                    _ => back == value,
                };
                assert!(equal, "{value:?} in {sqlite:?} came back as {back:?}");
            }
        }
    }
}
