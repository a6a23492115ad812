//! A shared library with a copy of the runtime of its own.

use std::sync::atomic::{AtomicU32, Ordering};

#[unsafe(no_mangle)]
extern "C" fn bump(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed)
}
