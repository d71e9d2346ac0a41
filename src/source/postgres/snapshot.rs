//! Which rows a saved snapshot could not see.

/// The bounds of a `pg_snapshot`: every transaction below `xmin` was over, none from `xmax` on had begun. Both count
/// on beyond 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
}

/// Transaction ids on rows have 32 bits and are compared on a circle: beyond half of it old looks new.
const HALF_CIRCLE: u64 = (1 << 31) - 1000;

/// The ids below mean something else than a transaction.
const FIRST_NORMAL: u32 = 3;

impl Snapshot {
    /// Reads PostgreSQL's text, `xmin:xmax:list`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        parts.next()?;
        (xmin <= xmax && parts.next().is_none()).then_some(Self { xmin, xmax })
    }

    /// Whether `saved` has seen transactions that had not begun in this snapshot.
    pub fn is_before(self, saved: &str) -> bool {
        Self::parse(saved).is_some_and(|saved| saved.xmax > self.xmax)
    }

    /// A condition on `xmin` (the row's, as SQL) that holds for every row which the snapshot `saved` could not see, when
    /// asked in this snapshot; `None` when no condition can tell.
    ///
    /// `pg_visible_in_snapshot` would be narrower, but it answers wrongly for the ids of subtransactions, which rows
    /// carry. Everything from the oldest transaction on that was running then is a superset, and reading a row again is
    /// harmless. Ages also hold for frozen rows: those that keep an id from long ago can at most be read once more.
    pub fn changed_since(self, saved: &str, xmin: &str) -> Option<String> {
        let saved = Self::parse(saved)?;
        // Another server, or one that was restored to an earlier state.
        if saved.xmin > self.xmax || self.xmax - saved.xmin > HALF_CIRCLE {
            return None;
        }
        let id = u32::try_from(saved.xmin & u64::from(u32::MAX)).ok().filter(|id| *id >= FIRST_NORMAL)?;
        Some(format!("pg_catalog.age({xmin}) <= pg_catalog.age('{id}'::pg_catalog.xid)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_or_refused() {
        assert_eq!(Snapshot::parse("10:20:10,14"), Some(Snapshot { xmin: 10, xmax: 20 }));
        assert_eq!(Snapshot::parse("10:10:"), Some(Snapshot { xmin: 10, xmax: 10 }));
        for text in ["", "10", "10:20", "20:10:", "a:b:", "1:2:3:4"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_before_a_snapshot() {
        let now = Snapshot { xmin: 500, xmax: 600 };
        assert!(!now.is_before("400:600:410"));
        assert!(now.is_before("400:601:410"));
        assert!(!now.is_before("nonsense"));
    }

    #[test]
    fn a_condition_only_where_it_can_tell() {
        let epoch = 1 << 32;
        let now = Snapshot { xmin: epoch + 500, xmax: epoch + 600 };
        let changed = |saved: String| now.changed_since(&saved, "xmin");
        assert_eq!(
            changed(format!("{}:{}:", epoch + 400, epoch + 400)).as_deref(),
            Some("pg_catalog.age(xmin) <= pg_catalog.age('400'::pg_catalog.xid)")
        );
        assert_eq!(changed(format!("{}:{}:", epoch + 601, epoch + 700)), None, "another server");
        assert_eq!(changed("500:600:".to_owned()), None, "a whole circle ago");
        assert_eq!(changed(format!("{epoch}:{}:", epoch + 1)), None, "not a transaction's id");
        assert_eq!(changed("nonsense".to_owned()), None);
    }
}
