//! How to record.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::outside::reach::Outsiders;
use super::time::clocks::Time;
use crate::patience::Patience;
use crate::schedule::Plan;
use crate::schedule::surprise::Surprises;
use crate::trace::event::Stream;
use crate::tracee::Stdin;

/// Is told of each piece of the program's output as it is written. With an error, the program's write(2) fails with that
/// errno.
pub type Listener<'a> = &'a (dyn Fn(Stream, &[u8]) -> std::io::Result<()> + Sync);

/// How to record.
#[derive(Clone)]
pub struct Options<'a> {
    /// How the schedule is made.
    pub plan: Plan,
    /// Whether to count what later recordings can make use of ([`Recording::measured`](super::Recording::measured)); strategies
    /// that want to know it count anyway.
    pub measure: bool,
    /// How time passes.
    pub time: Time,
    /// What may happen beyond the order of things.
    pub surprises: Surprises,
    /// The core that the program and its recorder share.
    pub core: usize,
    /// How many cores the program is told there are (`sched_getaffinity(2)`), 1 to 64.
    pub pretend_cores: usize,
    /// The program counts as hung when it runs longer, or would have to; [`Duration::MAX`] is no limit.
    pub timeout: Duration,
    /// What its runs usually take: it counts as hung when it takes far longer.
    pub patience: Option<Patience>,
    /// It is cut off when it runs past this; if it has taken no longer by then than runs do that end, that is
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub until: Option<Instant>,
    /// Where its standard input comes from.
    pub stdin: Stdin,
    /// Who gets its output as it is written, besides [`Recording::output`](super::Recording::output).
    pub listener: Option<Listener<'a>>,
    /// The first task is a test harness, which waits for the others with a time limit only to print warnings: such a
    /// wait does not count when asking whether anything can still happen.
    pub watchdog_main: bool,
    /// What others than the program do of their own accord.
    pub outsiders: Outsiders,
    /// Have tasks that wake others, or begin to wait, stop even where it could be decided in the process who runs. It makes no
    /// difference but in time.
    pub wakes_stop: bool,
    /// Have all calls stop, so that what the program only looks at is among its claims. It makes no difference but in time.
    pub calls_stop: bool,
    /// Set to true to end the recording soon where it is, as if its time were over.
    pub end: Option<&'a AtomicBool>,
    /// Set to true (by a signal handler, another thread) to give up soon.
    pub stop: &'a AtomicBool,
}
