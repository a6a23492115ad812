//! Replays altered events, and says how that ended.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::error::Divergence;
use rrtest_engine::output::Output;
use rrtest_engine::replay;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::{Effect, Event, FileId, FileRange, Image};
use rrtest_engine::trace::log::{Log, Prefix};

use crate::common::{GO_ON, core};
use crate::tiny::Recorded;

/// How long a replay may take from one event to the next: what is altered can make it wait for what never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A replay that takes longer than this hangs.
const FAILSAFE: Duration = Duration::from_secs(300);

/// How a replay ended.
#[derive(Debug)]
#[expect(dead_code, reason = "what is wrong is told by Debug")]
pub(crate) enum Outcome {
    /// As recorded, with the same ending, counts and output as the recording.
    Same,
    /// As recorded, but for what was counted: whoever replays compares that with what the trace says.
    Miscounted,
    /// As recorded, it said, but it was not.
    Wrong(String),
    /// At the first event that differs.
    Diverged(Divergence),
    /// The trace cannot be read.
    Damaged(String),
    /// With another error, which tells nobody that the trace is at fault.
    Refused(String),
    /// With a panic.
    Panicked(String),
    /// With processes left behind.
    Littered(String),
}

/// Replays alterations of a recording.
pub(crate) struct Replays<'a> {
    recorded: &'a Recorded,
    /// A log without events that has the files.
    files: Prefix,
    patience: Duration,
}

impl<'a> Replays<'a> {
    pub(crate) fn of(recorded: &'a Recorded) -> Self {
        let mut log = Log::default();
        let referred: BTreeSet<FileId> = recorded.events.iter().flat_map(files).collect();
        for number in 0..referred.last().map_or(0, |last| last.0 + 1) {
            let whole = FileRange { file: FileId(number), offset: 0, len: u64::MAX };
            let bytes = recorded.recording.log.file(whole).expect("a file").to_vec();
            assert_eq!(log.map_bytes(Path::new("a file"), bytes), FileId(number));
        }
        Self { recorded, files: log.into_prefix().expect("it is small"), patience: PATIENCE }
    }

    /// The same with less time from one event to the next, for alterations after which nothing comes.
    pub(crate) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Replays these events in place of the recorded ones. `what` says what was altered.
    pub(crate) fn outcome(&self, what: &str, events: &[Event]) -> Outcome {
        let mut log = self.files.log();
        events.iter().for_each(|event| log.push(event.clone()));
        guarded(&format!("{}: {what}", self.recorded.name), || self.replay(&log))
    }

    fn replay(&self, log: &Log) -> Outcome {
        let mut output = Output::default();
        let options = replay::Options {
            core: core(),
            stop: &GO_ON,
            patience: self.patience,
            watch: &[],
            output: &mut |stream, bytes| output.push(stream, bytes),
        };
        match replay::replay(log, options) {
            Ok(replayed) => {
                let recording = &self.recorded.recording;
                if replayed.stats != recording.stats {
                    Outcome::Miscounted
                } else if how(&replayed.ending) == how(&recording.ending)
                    && bytes(&output) == bytes(&recording.output)
                {
                    Outcome::Same
                } else {
                    Outcome::Wrong(format!("{:?} {output:?}", replayed.ending))
                }
            }
            Err(Error::Diverged(divergence)) => Outcome::Diverged(*divergence),
            Err(Error::Trace(error)) => Outcome::Damaged(error.to_string()),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

/// What comes of this, also if it panics or leaves a process behind. If it hangs, that is said, and is the end.
pub(crate) fn guarded(what: &str, replay: impl FnOnce() -> Outcome) -> Outcome {
    let _guard = Failsafe::start(what.to_owned());
    let outcome = match catch_unwind(AssertUnwindSafe(replay)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Panicked(text.unwrap_or_default())
        }
    };
    match left_behind() {
        None => outcome,
        Some(pid) => Outcome::Littered(format!("process {pid} after {outcome:?}")),
    }
}

/// How a program ended, without the state of its threads: the report of that is the trace's own.
fn how(ending: &Ending) -> (Discriminant<Ending>, Option<i32>) {
    let number = match ending {
        Ending::Exited(code) => Some(*code),
        Ending::Killed { signal, .. } => Some(*signal),
        _ => None,
    };
    (discriminant(ending), number)
}

/// All that was written. Where a descriptor leads to is the trace's word.
fn bytes(output: &Output) -> Vec<u8> {
    output.beginning().chain(output.end()).flat_map(|(_, bytes)| bytes).copied().collect()
}

/// The files that an event refers to.
fn files(event: &Event) -> Vec<FileId> {
    let of_image = |image: &Image| -> Vec<FileId> {
        let backings = image.mappings.iter().filter_map(|mapping| mapping.file.as_ref());
        backings.flat_map(|backing| &backing.loads).map(|load| load.contents.file).collect()
    };
    match event {
        Event::Image(image) => of_image(image),
        Event::Syscall(call) => match &call.effect {
            Effect::MapFile(backing) => backing.loads.iter().map(|load| load.contents.file).collect(),
            Effect::Executed(image) => of_image(image),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A child of this thread, if it has one.
fn left_behind() -> Option<i32> {
    let flags = libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: a null pointer says that the status is not wanted.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), flags) };
    (child >= 0).then_some(child)
}

/// Ends the process if it is not dropped in time: a hang is named.
struct Failsafe {
    done: Mutex<mpsc::Sender<()>>,
}

impl Failsafe {
    fn start(what: String) -> Self {
        let (done, waits) = mpsc::channel();
        std::thread::spawn(move || {
            if waits.recv_timeout(FAILSAFE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a replay hangs: {what}");
                std::process::abort();
            }
        });
        Self { done: Mutex::new(done) }
    }
}

impl Drop for Failsafe {
    fn drop(&mut self) {
        // A receiver that has gone ends the process at this moment.
        let _told = self.done.get_mut().map(|done| done.send(()));
    }
}
