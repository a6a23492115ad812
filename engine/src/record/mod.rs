//! Drives a program and records it.

mod abroad;
mod affinity;
mod alarms;
mod blocking;
mod buffer;
mod call_sites;
mod calls;
mod claims;
mod delays;
mod emulate;
mod fds;
mod file_changes;
mod file_times;
mod groups;
mod hand_over;
mod image;
mod inherit;
mod inside;
mod ipc;
mod ipc_times;
mod job_control;
mod leap;
mod limits;
mod locks;
mod memory_calls;
mod natively;
mod objects;
mod outputs;
mod overdue;
mod own_timers;
mod past;
mod peers;
mod pin;
mod proc_times;
mod processes;
mod quiet;
mod reach;
mod reads;
mod recorder;
mod report;
mod robust;
mod sharing;
mod signals;
mod slots;
mod snapshot;
mod spawned;
mod start_up;
mod strikes;
mod stuck;
mod surprises;
mod task_calls;
mod tasks;
mod template;
mod terminals;
mod time;
mod timers;
mod told;
mod twins;
mod unix_sockets;
mod waits;
mod watches;
mod whole;
mod yields;

use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::claims::Claims;
use crate::clock::Clock;
use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::output::Output;
use crate::patience::{Effort, Patience};
use crate::program::Program;
use crate::schedule::portfolio::Measured;
use crate::schedule::surprise::{Struck, Surprises};
use crate::schedule::{Decided, Plan};
use crate::strike::Strike;
use crate::trace::event::{Event, Stream};
use crate::trace::log::Log;
pub use crate::tracee::Stdin;
use crate::tracee::{self, Streams};
use fds::Fds;
pub use reach::Outsiders;
use recorder::Recorder;
pub use template::Template;
pub use time::Time;

/// Is told of each piece of the program's output as it is written. With an error, the program's write(2) fails with that
/// errno.
pub type Listener<'a> = &'a (dyn Fn(Stream, &[u8]) -> std::io::Result<()> + Sync);

/// How to record.
#[derive(Clone)]
pub struct Options<'a> {
    /// How the schedule is made.
    pub plan: Plan,
    /// Whether to count what later recordings can make use of ([`Recording::measured`]); strategies that want to know it
    /// count anyway.
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
    /// It is cut off when it runs past this.
    pub until: Option<Instant>,
    /// Where its standard input comes from.
    pub stdin: Stdin,
    /// Who gets its output as it is written, besides [`Recording::output`].
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

/// A recording, in memory.
#[derive(Debug)]
pub struct Recording {
    /// What was recorded.
    pub program: Program,
    /// How the program ended.
    pub ending: Ending,
    /// What it wrote to standard output and error.
    pub output: Output,
    /// What was counted.
    pub stats: Stats,
    /// What later recordings of the program can make use of.
    pub measured: Measured,
    /// The decisions that a systematic schedule took.
    pub decided: Vec<Decided>,
    /// How often surprises have struck.
    pub struck: Struck,
    /// What those in time have done, and where, if the program has failed: the first of them.
    pub strikes: Vec<Strike>,
    /// What it has used that others could use, too.
    pub claims: Claims,
    /// How often virtual time has leapt.
    pub leaps: u64,
    /// From just before the start to the end.
    pub wall: Duration,
    /// What it took of that time.
    pub effort: Effort,
    /// The events and files.
    pub log: Log,
}

/// Do what the first recording of a process would else have to do: where there is another core, and something to wait for.
pub fn get_ready() {
    tracee::patch::get_ready();
    tracee::read_sites::get_ready();
}

/// Record one run of a program. Call it from a thread that the caller can spare: the thread is pinned to the core.
///
/// # Errors
/// [`Error::Stopped`] if told to give up; else what kept the recorder from working: never what the program did.
pub fn record(program: &Program, options: &Options<'_>) -> Result<Recording, Error> {
    let start = Instant::now();
    let fds = Rc::new(Fds::new(Streams::new(options.stdin)?)?);
    let mut recorder = Recorder::start(program, options, Clock::new()?, fds)?;
    finish(&mut recorder, program, start)
}

/// Record what is left of a run that began at `start`.
fn finish(recorder: &mut Recorder<'_>, program: &Program, start: Instant) -> Result<Recording, Error> {
    let ending = recorder.run()?;
    let (wall, effort) = (start.elapsed(), recorder.trial.effort());
    let mut log = std::mem::take(&mut recorder.log);
    log.push(Event::Ended(ending.clone()));
    let (output, stats) = (std::mem::take(&mut recorder.output), recorder.stats);
    let measured = std::mem::take(&mut recorder.measured);
    Ok(Recording {
        program: program.clone(),
        ending,
        output,
        stats,
        measured,
        decided: recorder.strategy.decided(),
        struck: recorder.dice.struck(),
        strikes: recorder.strikes.take(),
        claims: std::mem::take(&mut recorder.claimed.claims),
        leaps: recorder.leaps,
        wall,
        effort,
        log,
    })
}
