//! Where a task stood at a place that a script marks.

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
    /// Where it was: return addresses, innermost frame first.
    pub frames: Vec<Frame>,
}
