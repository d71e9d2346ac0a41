//! What the targets share: how many bytes they were fed with, told when a run ends.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static BYTES: AtomicU64 = AtomicU64::new(0);
static COUNTING: Once = Once::new();

unsafe extern "C" {
    fn atexit(tell: extern "C" fn()) -> i32;
}

extern "C" fn tell() {
    // As libFuzzer writes its own figures.
    eprintln!("stat::bytes_fuzzed: {}", BYTES.load(Ordering::Relaxed));
}

/// Feeds `target` with `data` and counts it.
pub fn feed(data: &[u8], target: impl FnOnce(&[u8])) {
    // libFuzzer never returns from its loop, but it leaves the process in the ordinary way.
    COUNTING.call_once(|| {
        // SAFETY: a function of C's library, given one that only prints.
        unsafe { atexit(tell) };
    });
    BYTES.fetch_add(data.len() as u64, Ordering::Relaxed);
    target(data);
}
