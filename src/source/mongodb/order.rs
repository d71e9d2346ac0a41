//! MongoDB's order of values of any type, as conditions: `$gt` and its like see values of their own type only.

use mongodb::bson::{Bson, Document, doc};

/// The types in their order; those of one line are compared with each other by value.
const ORDER: [&[&str]; 16] = [
    &["minKey"],
    &["undefined", "null"],
    &["double", "int", "long", "decimal"],
    &["string", "symbol"],
    &["object"],
    &["array"],
    &["binData"],
    &["objectId"],
    &["bool"],
    &["date"],
    &["timestamp"],
    &["regex"],
    &["dbPointer"],
    &["javascript"],
    &["javascriptWithScope"],
    &["maxKey"],
];

fn rank(value: &Bson) -> usize {
    match value {
        Bson::MinKey => 0,
        Bson::Undefined | Bson::Null => 1,
        Bson::Double(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_) => 2,
        Bson::String(_) | Bson::Symbol(_) => 3,
        Bson::Document(_) => 4,
        Bson::Array(_) => 5,
        Bson::Binary(_) => 6,
        Bson::ObjectId(_) => 7,
        Bson::Boolean(_) => 8,
        Bson::DateTime(_) => 9,
        Bson::Timestamp(_) => 10,
        Bson::RegularExpression(_) => 11,
        Bson::DbPointer(_) => 12,
        Bson::JavaScriptCode(_) => 13,
        Bson::JavaScriptCodeWithScope(_) => 14,
        Bson::MaxKey => 15,
    }
}

fn of_types(field: &str, types: &[&[&str]]) -> Option<Document> {
    let names: Vec<&str> = types.iter().copied().flatten().copied().collect();
    (!names.is_empty()).then(|| doc! { field: { "$type": names } })
}

/// Whether `value` is the number that is below all others and comparable to none.
fn is_nan(value: &Bson) -> bool {
    match value {
        Bson::Double(value) => value.is_nan(),
        Bson::Decimal128(value) => value.to_string() == "NaN",
        _ => false,
    }
}

/// Every type there is, by the server's name.
pub fn all_types() -> impl Iterator<Item = &'static str> {
    ORDER.iter().flat_map(|names| names.iter().copied())
}

/// The condition that `field` comes after `value`, whatever its type.
fn greater(field: &str, value: &Bson) -> Document {
    let rank = rank(value);
    let within = match value {
        Bson::MinKey | Bson::MaxKey | Bson::Null | Bson::Undefined | Bson::RegularExpression(_) => None,
        value if is_nan(value) => Some(doc! { field: { "$gte": f64::NEG_INFINITY } }),
        value => Some(doc! { field: { "$gt": value } }),
    };
    any(within.into_iter().chain(of_types(field, &ORDER[rank + 1..])))
}

/// The condition that `field` is `value` or comes before it, whatever its type.
fn at_most(field: &str, value: &Bson) -> Document {
    let rank = rank(value);
    let equal = doc! { field: { "$eq": value } };
    let within = match value {
        Bson::MinKey | Bson::MaxKey | Bson::Null | Bson::Undefined | Bson::RegularExpression(_) => vec![equal],
        value if is_nan(value) => vec![equal],
        Bson::Double(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_) => {
            vec![doc! { field: { "$lte": value } }, doc! { field: f64::NAN }]
        }
        value => vec![doc! { field: { "$lte": value } }],
    };
    any(within.into_iter().chain(of_types(field, &ORDER[..rank])))
}

/// The condition that one of `conditions` holds; nothing fulfils none.
fn any(conditions: impl Iterator<Item = Document>) -> Document {
    let mut conditions: Vec<Document> = conditions.collect();
    match conditions.len() {
        0 => doc! { "$nor": [{}] },
        1 => conditions.remove(0),
        _ => doc! { "$or": conditions },
    }
}

/// The condition that all of `conditions` hold.
pub fn all(mut conditions: Vec<Document>) -> Document {
    match conditions.len() {
        0 => Document::new(),
        1 => conditions.remove(0),
        _ => doc! { "$and": conditions },
    }
}

/// The condition that the values of `fields` come after `values`, the first field deciding first.
pub fn after(fields: &[String], values: &[Bson]) -> Document {
    compared(fields, values, greater)
}

/// The condition that the values of `fields` are `values` or come before them.
pub fn up_to(fields: &[String], values: &[Bson]) -> Document {
    let Some((last, before)) = fields.len().checked_sub(1).map(|last| (last, &fields[..last])) else {
        return Document::new();
    };
    let mut condition = at_most(&fields[last], &values[last]);
    for (field, value) in before.iter().zip(values).rev() {
        // Before the value without being it.
        let below = all(vec![at_most(field, value), doc! { field: { "$ne": value } }]);
        condition = doc! { "$or": [below, { "$and": [{ field: { "$eq": value } }, condition] }] };
    }
    condition
}

fn compared(fields: &[String], values: &[Bson], last: fn(&str, &Bson) -> Document) -> Document {
    let mut pairs = fields.iter().zip(values).rev();
    let Some((field, value)) = pairs.next() else { return Document::new() };
    let mut condition = last(field, value);
    for (field, value) in pairs {
        condition = doc! { "$or": [greater(field, value), { "$and": [{ field: { "$eq": value } }, condition] }] };
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_types_come_after() {
        let condition = after(&["_id".to_owned()], &[Bson::Int32(3)]).to_string();
        assert!(condition.contains("\"$gt\": 3") && condition.contains("\"string\""), "{condition}");
        assert!(!condition.contains("\"null\"") && !condition.contains("\"long\""), "{condition}");
        assert_eq!(after(&["_id".to_owned()], &[Bson::MaxKey]), doc! { "$nor": [{}] });
    }

    #[test]
    fn numbers_have_one_below_all() {
        let one = ["n".to_owned()];
        assert!(up_to(&one, &[Bson::Int32(3)]).to_string().contains("NaN"));
        assert!(after(&one, &[Bson::Double(f64::NAN)]).to_string().contains("-inf"));
    }

    #[test]
    fn the_first_field_decides_first() {
        let fields = ["a".to_owned(), "b".to_owned()];
        let condition = after(&fields, &[Bson::String("x".to_owned()), Bson::Int32(1)]);
        let parts = condition.get_array("$or").unwrap();
        assert_eq!(parts.len(), 2);
        assert!(parts[1].to_string().contains("\"$eq\": \"x\""));
    }
}
