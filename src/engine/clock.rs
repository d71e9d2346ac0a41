//! The time of day as results and the state show it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::mapping::time;

/// Now, as `YYYY-MM-DDTHH:MM:SS.fffZ`.
pub fn now() -> String {
    iso(SystemTime::now())
}

/// Now, in milliseconds since 1970.
pub fn millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.map_or(0, |since| since.as_millis())).unwrap_or(i64::MAX)
}

/// `at`, as `YYYY-MM-DDTHH:MM:SS.fffZ`.
pub fn iso(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    time::instant_text(i64::try_from(micros).unwrap_or(i64::MAX), 3)
}
