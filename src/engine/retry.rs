//! When to try again, and how long to wait before.

use std::time::Duration;

use crate::config::Retry;
use crate::error::Error;

/// Counts the tries of one piece of work.
pub struct Attempts {
    retry: Retry,
    failed: u32,
}

impl Attempts {
    /// Nothing tried yet.
    pub const fn new(retry: Retry) -> Self {
        Self { retry, failed: 0 }
    }

    /// The work moved on since the last failure, so it starts with all its tries again.
    pub const fn progressed(&mut self) {
        self.failed = 0;
    }

    /// After a failure: how long to wait before the next try, or `None` when there is none.
    pub fn wait_after(&mut self, error: &Error) -> Option<Duration> {
        self.failed += 1;
        if !error.is_transient() || self.failed >= self.retry.attempts {
            return None;
        }
        if let Some(wait) = error.wait() {
            return Some(wait);
        }
        let doubled = self.retry.base.saturating_mul(1 << (self.failed - 1).min(20));
        // Between half and the whole of it, so that many replicas of one source don't come back in step.
        Some(doubled.min(self.retry.max).mul_f64(0.5 + fastrand::f64() / 2.0))
    }

    /// "2 of 5" for the log: the try that comes next.
    pub fn next(&self) -> String {
        format!("{} of {}", self.failed + 1, self.retry.attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const RETRY: Retry = Retry { attempts: 4, base: Duration::from_millis(100), max: Duration::from_millis(250) };

    #[test]
    fn waits_grow_to_the_maximum_and_end() {
        let mut attempts = Attempts::new(RETRY);
        let error = Error::new(Kind::Connect, "x");
        for (low, high) in [(50, 100), (100, 200), (125, 250)] {
            let wait = attempts.wait_after(&error).expect("a wait").as_millis();
            assert!((low..=high).contains(&wait), "{wait}");
        }
        assert_eq!(attempts.wait_after(&error), None);
    }

    #[test]
    fn a_wait_that_was_told_is_kept() {
        let told = Duration::from_mins(5);
        let error = Error::new(Kind::RateLimited, "x").after(told);
        assert_eq!(Attempts::new(RETRY).wait_after(&error), Some(told));
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        assert_eq!(Attempts::new(RETRY).wait_after(&Error::new(Kind::Auth, "x")), None);
    }
}
