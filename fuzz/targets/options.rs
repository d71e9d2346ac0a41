//! See `data_sync::fuzz::options`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| data_sync_fuzz::feed(data, data_sync::fuzz::options));
