//! Any index and any blocks, put together as a trace file with right checksums.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(trace) = rrtest_fuzz::forge(bytes) {
        rrtest_fuzz::read(&trace);
    }
});
