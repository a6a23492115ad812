//! What the recorder and the runtime inside the recorded process agree on.
//!
//! The recorder maps one shared area at [`AREA`] into every process it records (`MAP_SHARED`, so forked children see
//! the same one). Its first page is [`Shared`]. Only one task of the whole process tree runs at a time, so plain
//! loads and stores suffice.

/// Address of the shared area. Low, so that neither a position-independent program nor its mappings come near it.
pub const AREA: usize = 0x7000_0000;

/// Bytes of the shared area: one page of state, one page of code, then scratch memory.
pub const AREA_LEN: usize = 128 << 20;

/// The system call number with which the runtime says "the countdown reached zero".
///
/// Arguments: the address that the coming operation touches (0 for a fence), and its [`Kind`]. The result is ignored.
/// No kernel has a call of this number; the recorder never lets it through.
pub const SYS_TICK: usize = 21074;

/// The system call number with which the runtime says "I am here". Returns 1 under the recorder; `-ENOSYS` from a
/// kernel, which means that nobody records.
pub const SYS_HELLO: usize = 21075;

/// The system call number that ends code injected by the recorder.
pub const SYS_INJECTED: usize = 21076;

/// The first page of the shared area.
#[repr(C)]
pub struct Shared {
    /// Ticks until the running task must ask the scheduler. Each tick decrements it; at zero the runtime issues
    /// [`SYS_TICK`].
    pub countdown: u64,
}

/// What the operation behind a tick does to its address.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An atomic load.
    AtomicLoad = 0,
    /// An atomic store.
    AtomicStore = 1,
    /// An atomic read-modify-write, whether it succeeds or not.
    AtomicUpdate = 2,
    /// A fence; its address is 0.
    Fence = 3,
    /// A plain load (`--preempt memory`).
    Load = 4,
    /// A plain store (`--preempt memory`).
    Store = 5,
}

impl Kind {
    /// The kind that has this number in [`SYS_TICK`]'s second argument.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::AtomicLoad, Self::AtomicStore, Self::AtomicUpdate, Self::Fence, Self::Load, Self::Store]
            .into_iter()
            .find(|kind| *kind as u64 == raw)
    }
}
