//! Where a task stood at a place that a script marks.

use rrtest_preload::layout::AccessKind;
use rrtest_preload::objects;

use crate::ending::Frame;
use crate::schedule::Operation;
use crate::schedule::script::Spot;
use crate::strike::Thread;

/// What a task was about to do at a marked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub spot: Spot,
    /// The thread.
    pub thread: Thread,
    /// The operation, if known.
    pub operation: Option<Operation>,
    /// The memory that the operation accesses, if it accesses any.
    pub access: Option<Access>,
    /// Where it was: return addresses, innermost frame first.
    pub frames: Vec<Frame>,
}

/// An access to memory, of at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The address of its first byte.
    pub address: u64,
    /// Whether it can change memory.
    pub writes: bool,
    /// Whether it is atomic.
    pub atomic: bool,
    /// The number of the address space.
    pub space: u32,
}

impl Access {
    /// Returns the access whose tick has told of this address and this kind ([`AccessKind`]); `None` for a fence.
    #[must_use]
    pub fn of_tick(address: u64, kind: u64, space: u32) -> Option<Self> {
        let atomic = match AccessKind::from_raw(kind)? {
            AccessKind::AtomicLoad | AccessKind::AtomicStore | AccessKind::AtomicUpdate => true,
            AccessKind::Load | AccessKind::Store => false,
            AccessKind::Fence => return None,
        };
        Some(Self { address, writes: objects::writes(kind), atomic, space })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_says_what_is_accessed_and_how() {
        let of = |kind: u64| Access::of_tick(16, kind, 1).map(|it| (it.writes, it.atomic));
        assert_eq!(of(AccessKind::Load as u64), Some((false, false)));
        assert_eq!(of(AccessKind::Store as u64), Some((true, false)));
        assert_eq!(of(AccessKind::AtomicLoad as u64), Some((false, true)));
        assert_eq!(of(AccessKind::AtomicUpdate as u64), Some((true, true)));
        assert_eq!((of(AccessKind::Fence as u64), of(99)), (None, None));
    }
}
