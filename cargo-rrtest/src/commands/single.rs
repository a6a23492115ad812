//! One recorded run of a program, whose output is passed on as it is written, and what is said of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rrtest_engine::ending::Ending;
use rrtest_engine::patience::Limit;
use rrtest_engine::record::{Outsiders, Stdin};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::event::Stream;

use super::options::run::Recording;
use crate::attempt::engine::Real;
use crate::attempt::events::Attempt;
use crate::attempt::order::Order;
use crate::attempt::record::{Job, Setting};
use crate::attempt::seed::Seed;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{self, CAUTION};
use crate::build::instrument::Level;
use crate::discover::test::Test;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::outcome::Outcome;
use crate::report::display;
use crate::store::traces::Store;

/// What to record, and how.
pub(super) struct Single<'a> {
    pub(super) test: Test,
    pub(super) level: Level,
    /// As in [`Setting`].
    pub(super) takes_apart: bool,
    pub(super) seed: Seed,
    pub(super) recording: &'a Recording,
    /// The strategies to choose from; empty if any.
    pub(super) strategies: Vec<StrategyName>,
    /// How long it may run; none: without limit.
    pub(super) timeout: Option<Duration>,
    pub(super) stdin: Stdin,
    pub(super) outsiders: Outsiders,
    /// Whether our standard output gets what the program writes to its own; else our standard error does.
    pub(super) stdout_is_the_programs: bool,
    /// For how long its trace is still verified after we were told to end.
    pub(super) verified_for: Duration,
    /// Traces in the store with which its trace may share contents.
    pub(super) beside: Vec<PathBuf>,
}

impl Single<'_> {
    /// Records it, keeps its trace if it is to be kept, and says on standard error what its own output does not.
    pub(super) fn record(self, store: &Store, interrupt: &Interrupt) -> Result<Attempt, CliError> {
        let listen = |stream: Stream, bytes: &[u8]| {
            if stream == Stream::Stdout && self.stdout_is_the_programs {
                pass_on(io::stdout().as_fd(), bytes, &interrupt.stop)
            } else {
                pass_on(io::stderr().as_fd(), bytes, &interrupt.stop)
            }
        };
        let given_up = AtomicBool::new(false);
        let setting = Setting {
            engine: &Real,
            store,
            keep: self.recording.keep,
            limit: self.timeout.map_or(Limit::Never, Limit::Real),
            stdin: self.stdin,
            outsiders: self.outsiders,
            listener: Some(&listen),
            strategies: &self.strategies,
            time: self.recording.time,
            processor: self.recording.cpu,
            takes_apart: self.takes_apart,
            surprises: self.recording.surprises,
            faults: &self.recording.faults,
            rustc: "",
            known: Mutex::default(),
            kept: Mutex::new(self.beside),
            attached: self.recording.attached(self.test.program.cwd.clone()),
            in_use: None,
            judging: Mutex::default(),
            // What has been recorded until then is worth keeping.
            end: Some(&interrupt.stop),
            verification_ends: Some(&given_up),
        };
        let job = Job {
            test: Arc::new(self.test),
            level: self.level,
            number: 1,
            seed: self.seed,
            order: Order::Usual,
            script: None,
            branches: Vec::new(),
            pinned: None,
            measure: false,
            patience: None,
            until: None,
            watched: false,
        };
        let core = cores()?.first().copied().unwrap_or(0);
        let never = AtomicBool::new(false);
        let attempt = thread::scope(|scope| {
            let (done, ended) = mpsc::channel::<()>();
            let (stop, later, given_up) = (&interrupt.stop, self.verified_for, &given_up);
            scope.spawn(move || give_up_later(&ended, stop, later, given_up));
            let recorded = setting.record(job, core, None, &never);
            let attempt = recorded.map(|made| setting.judge(made, core, &never));
            drop(done);
            attempt
        })?;
        tell(&attempt, interrupt.by_user());
        if let Some(warning) = setting.to_attach(&attempt).and_then(|pending| setting.attach(&pending, &[])) {
            anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
        }
        Ok(attempt)
    }
}

/// Sets a flag so much later than `stop` is set, unless all has ended before.
fn give_up_later(ended: &Receiver<()>, stop: &AtomicBool, later: Duration, given_up: &AtomicBool) {
    /// How often to look.
    const MOMENT: Duration = Duration::from_millis(20);
    while !stop.load(Ordering::SeqCst) {
        if !matches!(ended.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
    if matches!(ended.recv_timeout(later), Err(RecvTimeoutError::Timeout)) {
        given_up.store(true, Ordering::SeqCst);
    }
}

/// Write all of it, as the program's own write(2) would have done. Past `stop`, do not wait for a reader.
pub(super) fn pass_on(to: BorrowedFd<'_>, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(to, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            // By the recorder's wake-up timer.
            Err(Errno::EINTR) if !stop.load(Ordering::SeqCst) => {}
            // The program may have made its standard input non-blocking, which often is the same terminal.
            Err(Errno::EAGAIN) if !stop.load(Ordering::SeqCst) => {
                // Whatever came of it, the next write tells.
                let _ready = poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What the program's own output does not tell.
fn tell(attempt: &Attempt, stopped: bool) {
    let by_itself = |ending: &&Ending| matches!(ending, Ending::Exited(_));
    let ending = attempt.ending.as_ref().filter(|ending| !attempt.outcome.is_ours() && !by_itself(ending));
    if stopped && attempt.message.is_none() {
        terminal::error(match attempt.trace {
            Some(_) => "terminated: the trace holds what was recorded so far",
            None => "terminated",
        });
    } else if let Some(ending) = ending {
        terminal::error(&describe::ending(ending, Frames::Own).join("\n"));
    }
    if let Some(message) = &attempt.message {
        terminal::error(message);
    }
    display::trace(attempt);
}

/// The exit code that tells how it ended: its own, or as a shell would have it.
pub(super) fn status(attempt: &Attempt) -> u8 {
    match (&attempt.outcome, &attempt.ending) {
        (Outcome::Unsupported | Outcome::Error, _) | (_, None) => Status::Recorder as u8,
        (_, Some(Ending::Exited(code))) => *code as u8,
        (_, Some(Ending::Killed { signal, .. })) => 128 + *signal as u8,
        _ => Status::Failed as u8,
    }
}
