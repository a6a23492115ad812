//! Drives a program and records it.
//!
//! The state of a recording is kept in twelve parts, which `recorder` owns: the [`clock`](crate::clock), and those below.
//! Each is a type whose methods take whatever else they need. What happens in a recording is a step: a method of the
//! recorder, in a file that stands on those below it.
//!
//! Steps, from the top down:
//!
//! ```text
//! run          the loop: pick a task, run it until another could be picked
//! preempt      stops tasks that compute without end
//! begin        where the program begins: on which date, on how many cores
//! dispatch     makes a system call as the table describes it
//! waiting      calls that have to wait before they can be made
//! deliver      delivers signals to the running task
//! calls        particular calls, and what is noted about them
//! hand_over    tasks that hand the core to each other without a stop
//! wait         waits for stops, for the kernel, for the clock
//! ends         the ends of tasks, processes and the program
//! finish       ends calls: what their tasks see, and what is logged
//! follow       carries out what tasks have done without a stop
//! recorder     the parts
//! ```
//!
//! Parts, and what they are made of, from the top down:
//!
//! ```text
//! progress     how long tasks, and the program, have made no progress
//! timers       timers of all kinds
//! signals      pending signals, and job control
//! deadlock     who waits for whom, and whether that can ever end
//! futex        futexes, which the recorder emulates
//! surprises    rare but legal events that the recorder injects
//! in_process   the recorder's code in the program's processes
//! time         the program's clocks, and whatever reports time
//! outside      what processes outside the recorded tree could reach
//! scheduler    the strategy, and what it is asked with
//! orders       in which orders tasks have accessed what they share
//! marks        what was seen at the places that a script marks
//! poller       descriptors that tasks wait for
//! journal      events, output, statistics
//! start        what a program begins with
//! tree         tasks and processes, and the call that each makes
//! kernel       what the kernel reports about descriptors, sockets and queues
//! step         the results of a step
//! options      how to record
//! asked_fault  calls that somebody wants to fail
//! ```
//!
//! `fork_server` stands above all: it makes recorders for copies of a process that has started up (a fork server).

mod asked_fault;
mod begin;
mod calls;
mod deadlock;
mod deliver;
mod dispatch;
mod ends;
mod finish;
mod follow;
mod fork_server;
mod futex;
mod hand_over;
mod in_process;
mod journal;
mod kernel;
mod marks;
mod options;
mod orders;
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
#[cfg(test)]
mod testing;
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
use crate::mark::Mark;
use crate::output::Output;
use crate::patience::Effort;
use crate::program::Program;
use crate::schedule::portfolio::Measured;
use crate::schedule::script::Noted;
use crate::schedule::surprise::Struck;
use crate::schedule::{Decided, StrategyName};
use crate::strike::{Strike, Thread};
use crate::trace::event::Event;
use crate::trace::log::Log;
use crate::tracee::{self, Streams};
pub use crate::tracee::{Stdin, starting, wait_for_starts};
pub use asked_fault::AskedFault;
pub use fork_server::ForkServer;
use kernel::fds::Fds;
pub use options::{CutOff, Listener, Options, Outsiders, Ticks, Time};
pub use orders::{Orders, PairOrders};
use recorder::Recorder;
pub use rrtest_preload::processor::Processor;
use surprises::Surprises;

/// A recording, in memory.
#[derive(Debug)]
pub struct Recording {
    /// The recorded program.
    pub program: Program,
    /// How the program ended.
    pub ending: Ending,
    /// What it wrote to standard output and error.
    pub output: Output,
    /// Statistics.
    pub stats: Stats,
    /// Measurements that later recordings of the program can use.
    pub measured: Measured,
    /// The decisions of a systematic schedule.
    pub decided: Vec<Decided>,
    /// The schedule, to be run again.
    pub noted: Noted,
    /// The threads of a scripted run.
    pub threads: Vec<Thread>,
    /// Where tasks stood at the places that the plan's script marks.
    pub marks: Vec<Mark>,
    /// In which orders tasks have accessed what they share, under a guided schedule.
    pub orders: Orders,
    /// How often surprises have struck.
    pub struck: Struck,
    /// If the program has failed: what the first surprises in time have done, and where.
    pub strikes: Vec<Strike>,
    /// What it has used that others could use, too.
    pub claims: Claims,
    /// Whether it has been in touch with a process that is not recorded ([`Outsiders::StayAway`]).
    pub met_outsiders: bool,
    /// How often virtual time was fast-forwarded.
    pub fast_forwards: u64,
    /// Wall-clock time from just before the start to the end.
    pub wall: Duration,
    /// The run's own share of that time.
    pub effort: Effort,
    /// The events and files.
    pub log: Log,
}

/// Prepares what the first recording of a process would otherwise have to. Useful on another core while the caller
/// waits.
pub fn get_ready() {
    tracee::patch::get_ready();
    tracee::find_reads_of_libraries();
}

/// Records one run of a program. Call it from a thread that the caller can spare: the thread is pinned to the core.
///
/// # Errors
/// [`Error::Stopped`] if told to give up. Otherwise what kept the recorder from working; never what the program did.
pub fn record(program: &Program, options: &Options<'_>) -> Result<Recording, Error> {
    let start = Instant::now();
    let mut surprises = Surprises::new(options);
    let changed = surprises.started(program);
    record_anew(changed.as_ref().unwrap_or(program), options, surprises, start)
}

/// Records a run that began at `start`, of a program that starts from the beginning.
fn record_anew(
    program: &Program,
    options: &Options<'_>,
    surprises: Surprises,
    start: Instant,
) -> Result<Recording, Error> {
    let fds = Rc::new(Fds::new(Streams::new(options.stdin)?)?);
    let mut recorder = Recorder::start(program, options, surprises, Clock::new()?, fds)?;
    finish(&mut recorder, program, start)
}

/// Records the rest of a run that began at `start`.
fn finish(recorder: &mut Recorder<'_>, program: &Program, start: Instant) -> Result<Recording, Error> {
    let ending = recorder.run()?;
    let (wall, effort) = (start.elapsed(), recorder.progress.trial.effort());
    let mut log = std::mem::take(&mut recorder.journal.log);
    log.push(Event::Ended(ending.clone()));
    let (output, stats) = (std::mem::take(&mut recorder.journal.output), recorder.journal.stats);
    let measured = std::mem::take(&mut recorder.journal.measured);
    let tasks = &recorder.tasks;
    let threads = match recorder.options.plan.strategy {
        StrategyName::Scripted => tasks.iter().map(|task| tasks.thread(task.id)).collect(),
        _ => Vec::new(),
    };
    let mut noted = recorder.scheduler.strategy.noted();
    if let Some(turn) = noted.turns.last_mut() {
        turn.to += recorder.clock.ran();
    }
    noted.cut |= recorder.surprises.injector.is_cut();
    noted.script.strokes = recorder.surprises.injector.take_noted();
    Ok(Recording {
        program: program.clone(),
        ending,
        output,
        stats,
        measured,
        decided: recorder.scheduler.strategy.decided(),
        noted,
        threads,
        marks: std::mem::take(&mut recorder.marks.found),
        orders: std::mem::take(&mut recorder.scheduler.orders.orders),
        struck: recorder.surprises.injector.struck(),
        strikes: recorder.surprises.strikes.take(),
        claims: std::mem::take(&mut recorder.outside.claimed.claims),
        met_outsiders: recorder.outside.reach.has_met(),
        fast_forwards: recorder.time.fast_forwards,
        wall,
        effort,
        log,
    })
}
