//! Any bytes as a trace file. Most are refused at once: what a wrong checksum keeps away is the target `structure`'s.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(trace) = rrtest_fuzz::open(bytes) {
        rrtest_fuzz::read(&trace);
    }
});
