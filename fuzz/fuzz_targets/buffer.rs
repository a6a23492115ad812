//! Any bytes as the log of the system-call buffer.
#![no_main]

use rrtest_engine::trace::event::Event;
use rrtest_engine::tracee::buffered_calls;

libfuzzer_sys::fuzz_target!(|log: &[u8]| {
    let mut payload = 0;
    for call in buffered_calls(log) {
        payload += call.payload.len();
        let opened = call.opened().map_or(0, |(_, path)| path.len());
        assert!(opened <= call.payload.len());
    }
    // No byte is in two calls.
    assert!(payload <= log.len());
    let words = Event::Buffered(log.to_vec()).describe(|_| None).to_string();
    assert!(!words.contains('\n'));
});
