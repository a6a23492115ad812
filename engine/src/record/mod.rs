//! Drives a program and records it.
//!
//! `recorder` has the loop: it picks a task, and runs it to where another could be picked. What it meets on the way is dealt
//! with in the rooms. Each has use for the types and functions of those below it only:
//!
//! ```text
//! waiting      calls that have to wait, and who can go on
//! preempt      tasks that compute, and programs that do not end
//! calls        a system call from its entry to the log
//! timers       timers of all kinds
//! signals      signals, and the stops of job control
//! in_process   what the program's own processes do in the recorder's place, without a stop
//! futex        futexes, which the recorder has in the kernel's place
//! surprises    what may happen beyond the order of things, and where it has
//! time         the program's clocks, and whatever tells the time
//! deadlock     who waits for whom, and whether that can ever end
//! start        what a program begins with
//! outside      what others than the program could come to
//! tree         the tasks and processes, and the call that each makes
//! kernel       what the kernel tells of descriptors, sockets and queues
//! step         what comes of a step of the loop
//! ```
//!
//! The state of a recording is still a single object, `recorder::Recorder`: it has the state that belongs to each room, and most
//! of what a room does are methods of it, which are called from everywhere. `template` stands above all: it makes recorders of
//! processes that have started up.

mod calls;
mod deadlock;
mod deliver;
mod dispatch;
mod ends;
mod follow;
mod futex;
mod hand_over;
mod in_process;
mod journal;
mod kernel;
mod options;
mod outside;
mod poller;
mod preempt;
mod progress;
mod recorder;
mod run;
mod scheduler;
mod signals;
mod start;
mod step;
mod surprises;
mod template;
mod time;
mod timers;
mod tree;
mod wait;
mod waiting;

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::claims::Claims;
use crate::clock::Clock;
use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::output::Output;
use crate::patience::Effort;
use crate::program::Program;
use crate::schedule::Decided;
use crate::schedule::portfolio::Measured;
use crate::schedule::surprise::Struck;
use crate::strike::Strike;
use crate::trace::event::Event;
use crate::trace::log::Log;
pub use crate::tracee::Stdin;
use crate::tracee::{self, Streams};
use kernel::fds::Fds;
pub use options::{Listener, Options, Outsiders, Time};
use recorder::Recorder;
pub use template::Template;

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
    let (wall, effort) = (start.elapsed(), recorder.progress.trial.effort());
    let mut log = std::mem::take(&mut recorder.journal.log);
    log.push(Event::Ended(ending.clone()));
    let (output, stats) = (std::mem::take(&mut recorder.journal.output), recorder.journal.stats);
    let measured = std::mem::take(&mut recorder.journal.measured);
    Ok(Recording {
        program: program.clone(),
        ending,
        output,
        stats,
        measured,
        decided: recorder.scheduler.strategy.decided(),
        struck: recorder.surprises.dice.struck(),
        strikes: recorder.surprises.strikes.take(),
        claims: std::mem::take(&mut recorder.outside.claimed.claims),
        leaps: recorder.time.leaps,
        wall,
        effort,
        log,
    })
}
