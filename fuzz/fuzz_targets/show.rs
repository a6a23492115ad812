//! The same for what `cargo rrtest show` reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(trace) = rrtest_fuzz::forge(bytes) {
        rrtest_fuzz::show(&trace);
    }
});
