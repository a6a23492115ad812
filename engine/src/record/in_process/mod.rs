//! What is known of the recorder's code in the program's processes.
//!
//! Calls are made in the system-call buffer once their instructions are patched, tasks hand the core to each other, and
//! stubs read the time-stamp counter and the like, or tick. The room stands on [`tree`](super::tree) and
//! [`start`](super::start); the code itself is in `rrtest_preload`.

pub(super) mod buffer;
pub(super) mod call_sites;
pub(super) mod hand_over;
pub(super) mod known_code;
pub(super) mod moved;
pub(super) mod reads;

use buffer::Buffer;
use call_sites::CallSites;
use hand_over::HandOver;
use known_code::KnownCode;
use moved::{MovedCode, Ticking};
use reads::Reads;

/// What is known of the recorder's code in the program's processes.
#[derive(Debug, Default)]
pub(super) struct InProcess {
    pub(super) buffer: Buffer,
    pub(super) call_sites: CallSites,
    pub(super) reads: Reads,
    pub(super) moved: MovedCode,
    pub(super) ticking: Ticking,
    pub(super) known: KnownCode,
    pub(super) hand_over: HandOver,
}
