//! Options of a recording.

use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rrtest_preload::processor::Processor;

use super::asked_fault::AskedFault;
use crate::patience::Limit;
use crate::schedule::Plan;
use crate::schedule::surprise::Surprises;
use crate::trace::event::Stream;
use crate::tracee::Stdin;

/// Gets each piece of the program's output as it is written. If it returns an error, the program's write(2) fails with
/// that errno.
pub type Listener<'a> = &'a (dyn Fn(Stream, &[u8]) -> std::io::Result<()> + Sync);

/// Options of a recording.
#[derive(Clone)]
pub struct Options<'a> {
    /// The schedule: strategy and seed.
    pub plan: Plan,
    /// Whether to take the measurements that later recordings can use
    /// ([`Recording::measured`](super::Recording::measured)). Strategies that need them take them anyway.
    pub measure: bool,
    /// How time passes.
    pub time: Time,
    /// The processor that the program sees.
    pub processor: Processor,
    /// Which operations of code that was not compiled with ticks tick all the same.
    pub ticks: Ticks,
    /// Rare but legal events that may be injected.
    pub surprises: Surprises,
    /// Calls that are to fail, one of each in each run.
    pub faults: &'a [AskedFault],
    /// The core that the program and its recorder share.
    pub core: usize,
    /// Number of cores that the program is told there are (`sched_getaffinity(2)`), 1 to 64.
    pub pretend_cores: usize,
    /// When the program counts as hung.
    pub limit: Limit,
    /// The recording is cut off when it runs past this. If it has taken no longer by then than runs do that end, that
    /// is [`Error::Stopped`](crate::Error::Stopped).
    pub until: Option<CutOff>,
    /// The source of the program's standard input.
    pub stdin: Stdin,
    /// Gets the program's output as it is written, besides [`Recording::output`](super::Recording::output).
    pub listener: Option<Listener<'a>>,
    /// The first task is a test harness that waits for the others with a time limit only to print warnings. Such a wait
    /// does not count in deciding whether anything can still happen.
    pub watchdog_main: bool,
    /// What other processes do of their own accord.
    pub outsiders: Outsiders,
    /// Make tasks stop when they wake others or begin to wait, even if the process could decide itself who runs. This
    /// changes nothing but the speed.
    pub wakes_stop: bool,
    /// Make all calls stop, so that what the program only looks at is among its claims. This changes nothing but the
    /// speed.
    pub calls_stop: bool,
    /// Set to true to end the recording soon, as if its time were over.
    pub end: Option<&'a AtomicBool>,
    /// Set to true (by a signal handler, another thread) to give up soon.
    pub stop: &'a AtomicBool,
}

/// When a recording is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// When.
    pub at: Instant,
    /// The ending tells what the tasks were doing if the program has had this much time of its own by then
    /// ([`Effort`](crate::patience::Effort)): finding out takes a while.
    pub told_after: Duration,
}

impl CutOff {
    /// A recording that is cut off at this time, of which nobody asks what the tasks were doing.
    #[must_use]
    pub fn untold(at: Instant) -> Self {
        Self { at, told_after: Duration::MAX }
    }
}

/// Which operations of code that was not compiled with ticks tick all the same. System calls always do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ticks {
    /// None.
    #[default]
    CompiledIn,
    /// Atomic operations, as far as they can be moved to stubs.
    Atomics,
    /// Also plain accesses to memory that threads can share, in the program and the libraries that are no part of the
    /// system.
    Accesses,
}

/// What processes outside the recorded tree do of their own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outsiders {
    /// They may use anything whose name they could know.
    #[default]
    MayCome,
    /// They leave alone what the program has made since it began, as long as it has been in touch with none of them.
    StayAway,
}

/// How time passes for the recorded program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Time {
    /// As for everybody else.
    #[default]
    Real,
    /// As for everybody else, but when every task waits for a time, the clock is fast-forwarded to the earliest.
    Virtual,
}

impl Time {
    /// All values.
    pub const ALL: [Self; 2] = [Self::Real, Self::Virtual];

    /// Returns the name that users type and read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Virtual => "virtual",
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|time| time.as_str() == name);
        found.ok_or_else(|| format!("time is {}, not `{name}`", Self::ALL.map(Self::as_str).join(" or ")))
    }
}
