//! What would make reading changes fast.

use crate::replica::Replica;
use crate::schema::Relation;

/// The column that `replica` is tracked by, when it is large and no index begins with it. An index of several columns serves
/// none of them when any may count.
pub fn unindexed_track(replica: &Replica) -> Option<&str> {
    let source = &replica.source;
    let &[column] = replica.track_columns().as_slice() else { return None };
    let tracked = &source.columns[replica.columns[column].source].name;
    let indexed = source.indexes.iter().any(|index| index.first() == Some(tracked));
    (!indexed && source.is_large() && source.relation == Relation::Table).then_some(tracked.as_str())
}
