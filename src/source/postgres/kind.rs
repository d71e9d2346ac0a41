//! PostgreSQL's types: what their values are, how they are asked for and how a constant of them is written.

use std::borrow::Cow;

use super::wire::Wire;
use crate::schema::SourceType;

/// How a column is read and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// What its values are.
    pub kind: SourceType,
    /// How they come over the wire when asked for as `cast` says.
    pub wire: Wire,
    /// The cast that asks for them.
    pub cast: Cast,
    /// The type as SQL names it in a constant.
    pub literal: String,
}

/// What is written around a column to ask for its values. Values that come in their own form are cast too: it costs
/// nothing, and should the column's type change after it was looked up, the bytes are still what the decoder expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    before: &'static str,
    after: Cow<'static, str>,
}

/// Any type's own text.
const AS_TEXT: Cast = Cast::to("::pg_catalog.text");

impl Cast {
    const fn to(after: &'static str) -> Self {
        Self { before: "", after: Cow::Borrowed(after) }
    }

    const fn by(before: &'static str) -> Self {
        Self { before, after: Cow::Borrowed(")::pg_catalog.text") }
    }

    /// The SQL that asks for `expression`.
    pub fn of(&self, expression: &str) -> String {
        format!("{}{expression}{}", self.before, self.after)
    }
}

/// A type as the catalog knows it, domains resolved.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct CatalogType {
    /// Its number.
    pub oid: u32,
    /// Its bare name.
    pub name: String,
    /// Its kind: `e` for an enum.
    pub typtype: String,
    /// The modifier of the column.
    pub typmod: i32,
    /// Its name in SQL, qualified where it has to be.
    pub sql: String,
}

/// The first number that `PostgreSQL` gives to a type it did not come with.
const FIRST_OF_OTHERS: u32 = 16384;

impl CatalogType {
    /// Whether it came with the server, or is made of other types: a composite, a range, a multirange.
    fn is_known(&self) -> bool {
        self.oid < FIRST_OF_OTHERS || matches!(self.typtype.as_str(), "c" | "r" | "m")
    }
}

/// A type with a binary form of its own: SQL name (with the cast that asks for it), wire form, kind.
fn native(of: &CatalogType) -> Option<(&'static str, Wire, SourceType)> {
    let digits = u8::try_from(of.typmod).ok().filter(|digits| *digits <= 6).unwrap_or(6);
    Some(match of.oid {
        16 => ("::pg_catalog.bool", Wire::Bool, SourceType::Bool),
        17 => ("::pg_catalog.bytea", Wire::Bytes, SourceType::Bytes),
        19 => ("::pg_catalog.name", Wire::Text, SourceType::Text),
        20 => ("::pg_catalog.int8", Wire::Int8, SourceType::Int),
        21 => ("::pg_catalog.int2", Wire::Int2, SourceType::Int),
        23 => ("::pg_catalog.int4", Wire::Int4, SourceType::Int),
        25 | 1043 => ("::pg_catalog.text", Wire::Text, SourceType::Text),
        26 => ("::pg_catalog.oid", Wire::Oid, SourceType::Int),
        114 => ("::pg_catalog.json", Wire::Json, SourceType::Json),
        700 => ("::pg_catalog.float4", Wire::Float4, SourceType::Float32),
        701 => ("::pg_catalog.float8", Wire::Float8, SourceType::Float64),
        // As text it would lose the padding that PostgreSQL prints.
        1042 => ("::pg_catalog.bpchar", Wire::Text, SourceType::Text),
        1082 => ("::pg_catalog.date", Wire::Date, SourceType::Date),
        1083 => ("::pg_catalog.time", Wire::Time { digits }, SourceType::Time { digits, zoned: false }),
        1114 => ("::pg_catalog.timestamp", Wire::Timestamp { digits }, SourceType::Timestamp { digits, zoned: false }),
        1184 => {
            ("::pg_catalog.timestamptz", Wire::TimestampTz { digits }, SourceType::Timestamp { digits, zoned: true })
        }
        1266 => ("::pg_catalog.timetz", Wire::TimeTz { digits }, SourceType::Time { digits, zoned: true }),
        1700 => ("::pg_catalog.numeric", Wire::Numeric, SourceType::Decimal { precision: significant(of.typmod) }),
        2950 => ("::pg_catalog.uuid", Wire::Uuid, SourceType::Uuid),
        3802 => ("::pg_catalog.jsonb", Wire::Jsonb, SourceType::Json),
        _ => return None,
    })
}

/// How many significant digits a `numeric` of this modifier can have.
fn significant(typmod: i32) -> Option<u32> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    let precision = (packed >> 16) & 0xffff;
    // Eleven bits with a sign: scales may be negative, and larger than the precision.
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // Counted with the zeros, so that a number that a double can't reach (numeric(2,-1000)) doesn't seem short.
    u32::try_from(precision.max(scale).max(precision - scale.min(0))).ok()
}

/// The most bytes that a value of a type may take, as the catalog prints it; `None` where nothing is declared of that.
pub fn longest(declared: &str) -> Option<u64> {
    let length = declared.strip_prefix("character varying(").or_else(|| declared.strip_prefix("character("))?;
    // A character takes up to four bytes.
    Some(length.strip_suffix(')')?.parse::<u64>().ok()? * 4)
}

impl ColumnType {
    /// The type `of` a column, or `array` of it when it is the element of one.
    pub fn new(base: &CatalogType, element: Option<&CatalogType>) -> Self {
        match element {
            Some(element) => Self::array(base, element),
            None => Self::scalar(base),
        }
    }

    fn scalar(of: &CatalogType) -> Self {
        if let Some((after, wire, kind)) = native(of) {
            return Self { kind, wire, cast: Cast::to(after), literal: after[2..].to_owned() };
        }
        let (cast, kind) = match of.oid {
            // Their cast to text appends a netmask that their own text leaves out.
            869 => (Cast::by("pg_catalog.inet_out("), SourceType::Opaque { known: true }),
            650 => (Cast::by("pg_catalog.cidr_out("), SourceType::Opaque { known: true }),
            18 => (AS_TEXT, SourceType::Text),
            _ if of.typtype == "e" || of.name == "citext" => (AS_TEXT, SourceType::Text),
            _ => (AS_TEXT, SourceType::Opaque { known: of.is_known() }),
        };
        Self { kind, wire: Wire::Text, cast, literal: of.sql.clone() }
    }

    fn array(base: &CatalogType, of: &CatalogType) -> Self {
        let (after, wire, kind) = match native(of) {
            Some((after, wire, kind)) => (Cow::Owned(format!("{after}[]")), wire, kind),
            // By way of the array's own text, in which elements are spelled as by themselves.
            None if matches!(of.oid, 869 | 650) => {
                (Cow::Borrowed("::pg_catalog.text::pg_catalog.text[]"), Wire::Text, SourceType::Opaque { known: true })
            }
            None => (Cow::Borrowed("::pg_catalog.text[]"), Wire::Text, Self::scalar(of).kind),
        };
        Self {
            kind: SourceType::Array(Box::new(kind)),
            wire: Wire::Array(Box::new(wire)),
            cast: Cast { before: "", after },
            literal: base.sql.clone(),
        }
    }

    /// The same for a column whose values are given back as constants (keys, track values): arrays stay in the source's
    /// own text, because their JSON is no constant.
    pub fn comparable(&self) -> Self {
        match &self.wire {
            Wire::Array(_) => Self { wire: Wire::Text, cast: AS_TEXT, ..self.clone() },
            _ => self.clone(),
        }
    }

    /// The same for a column whose values go where only text goes: floats in the source's own spelling.
    pub fn as_text(&self) -> Self {
        match &self.wire {
            Wire::Float4 | Wire::Float8 => Self { wire: Wire::Text, cast: AS_TEXT, ..self.clone() },
            _ => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_value_of_a_type() {
        for (declared, most) in [
            ("character varying(255)", Some(1_020)),
            ("character(1)", Some(4)),
            ("character varying", None),
            ("character varying(255)[]", None),
            ("text", None),
        ] {
            assert_eq!(longest(declared), most, "{declared}");
        }
    }

    #[test]
    fn significant_digits() {
        let typmod = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(significant(-1), None);
        assert_eq!(significant(typmod(12, 2)), Some(12));
        assert_eq!(significant(typmod(3, -2)), Some(5));
        assert_eq!(significant(typmod(3, 5)), Some(5));
        assert_eq!(significant(typmod(2, -1000)), Some(1002));
    }
}
