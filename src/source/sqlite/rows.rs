//! Rows in JSON, arrays of values, straight into a batch.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::link::Fault;
use crate::batch::Batch;

/// How a system writes one value.
pub trait Form {
    /// What may be wrong with a value for a reason that users are told.
    const REASON: Option<&'static str> = None;

    /// Adds a value to `rows`. The words of an error may be shown, so they hold nothing of the value.
    fn read<'de, D: Deserializer<'de>>(deserializer: D, rows: &mut Batch) -> Result<(), D::Error>;
}

/// Adds the rows of a JSON answer of `system` to `rows`.
pub fn read<F: Form>(json: &RawValue, rows: &mut Batch, system: &str) -> Result<(), Fault> {
    let read = Rows::<F>(rows, PhantomData).deserialize(&mut serde_json::Deserializer::from_str(json.get()));
    read.map_err(|error| match F::REASON.filter(|reason| error.to_string().contains(reason)) {
        Some(reason) => Fault::Refused(reason.to_owned()),
        // The parser's own words repeat what stands in another's place, however long it is.
        None => Fault::Refused(format!(
            "{system} answered rows of another form than asked for (line {}, column {})",
            error.line(),
            error.column()
        )),
    })
}

/// An array of rows.
struct Rows<'a, F>(&'a mut Batch, PhantomData<F>);

impl<'de, F: Form> DeserializeSeed<'de> for Rows<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: Form> Visitor<'de> for Rows<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row::<F>(self.0, PhantomData))?.is_some() {}
        Ok(())
    }
}

/// An array of values.
struct Row<'a, F>(&'a mut Batch, PhantomData<F>);

impl<'de, F: Form> DeserializeSeed<'de> for Row<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: Form> Visitor<'de> for Row<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of {} values", self.0.width())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> Result<(), A::Error> {
        let mut count = 0;
        while cells.next_element_seed(Cell::<F>(self.0, PhantomData))?.is_some() {
            count += 1;
            // A row without an end would fill the memory.
            if count > self.0.width() {
                break;
            }
        }
        if count == self.0.width() { Ok(()) } else { Err(Error::invalid_length(count, &self)) }
    }
}

struct Cell<'a, F>(&'a mut Batch, PhantomData<F>);

impl<'de, F: Form> DeserializeSeed<'de> for Cell<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        F::read(deserializer, self.0)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The rows in `text`.
    pub fn parsed<F: Form>(text: &str, width: usize) -> Result<Batch, serde_json::Error> {
        let mut batch = Batch::new(width);
        Rows::<F>(&mut batch, PhantomData).deserialize(&mut serde_json::Deserializer::from_str(text))?;
        Ok(batch)
    }
}
