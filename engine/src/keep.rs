//! Keeps a recording: writes it to a file, and replays it before the file gets its name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::ending::{Awaited, Ending, TaskState};
use crate::error::{Divergence, Error};
use crate::output::Output;
use crate::record::Recording;
use crate::replay::{self, replay};
use crate::task::TaskId;
use crate::trace::file::unnamed::Unnamed;
use crate::trace::file::writer::{self, Head};
use crate::trace::{Trace, TraceError};

/// The result of keeping a recording.
#[derive(Debug)]
pub struct Kept {
    /// Why the trace did not replay; `None` if it is verified. The file exists either way. [`Error::Stopped`] means
    /// that it was not replayed to the end.
    pub divergence: Option<Error>,
    /// How the program ended, as recorded, with the owners of the mutexes that threads wait for, as found by replaying.
    pub ending: Ending,
}

/// As [`keep_beside`], as a trace that stands alone.
///
/// # Errors
/// As there.
pub fn keep(
    recording: &Recording,
    path: &Path,
    info: &serde_json::Value,
    core: usize,
    stop: &AtomicBool,
) -> Result<Kept, Error> {
    keep_beside(recording, path, &[], info, core, stop)
}

/// Writes `recording` to a new file at `path`, replays it once on `core`, marks it as verified if the replay was
/// faithful, and only then gives the file its name. If `stop` becomes true the replay ends early, and the file is not
/// verified. Contents of mapped files that the traces `beside` it have are not stored again. `info` is the caller's
/// own description, which [`Trace::info`] returns. The calling thread is pinned to the core.
///
/// # Errors
/// Why the file could not be written; [`std::io::ErrorKind::AlreadyExists`] if `path` exists. No file is left behind
/// then.
pub fn keep_beside(
    recording: &Recording,
    path: &Path,
    beside: &[PathBuf],
    info: &serde_json::Value,
    core: usize,
    stop: &AtomicBool,
) -> Result<Kept, Error> {
    let failed = |source| Error::Os { what: format!("write the trace `{}`", path.display()), source };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    let mut beside: Vec<Trace> = beside.iter().filter_map(|path| Trace::open(path).ok()).collect();
    let write = |ending: &Ending, beside: &[Trace]| -> Result<Unnamed, Error> {
        let out = Unnamed::beside(path).map_err(failed)?;
        let head = Head {
            program: recording.program.clone(),
            ending: ending.clone(),
            stats: recording.stats,
            info: info.clone(),
        };
        writer::write(&recording.log, &head, beside, &out)?;
        Ok(out)
    };
    let mut ending = recording.ending.clone();
    let mut out = write(&ending, &beside)?;
    let mut verified = verify(recording, &out, path, core, stop);
    // One of the others was deleted meanwhile.
    if matches!(verified, Err(Error::Trace(TraceError::Beside { .. }))) {
        beside.clear();
        out = write(&ending, &beside)?;
        verified = verify(recording, &out, path, core, stop);
    }
    let divergence = match verified {
        Ok(()) => {
            if name_owners(recording, &mut ending, core, stop) {
                out = write(&ending, &beside)?;
            }
            writer::mark_verified(&out)?;
            None
        }
        Err(error) => Some(error),
    };
    out.name(path).map_err(failed)?;
    Ok(Kept { divergence, ending })
}

/// Finds the owners of the std mutexes that tasks wait for, by another replay. Returns whether it found any; finding
/// none is no error.
fn name_owners(recording: &Recording, ending: &mut Ending, core: usize, stop: &AtomicBool) -> bool {
    /// Number of debug registers for watchpoints (x86-64).
    const MOST: usize = 4;
    let (Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. }) = ending else { return false };
    let mut words: Vec<u64> = tasks.iter().filter_map(word_of_mutex).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(MOST);
    if words.is_empty() {
        return false;
    }
    let options =
        replay::Options { core, stop, patience: patience(recording), watch: &words, output: &mut |_, _| {} };
    let Ok(replayed) = replay(&recording.log, options) else { return false };
    let living: BTreeSet<TaskId> = tasks.iter().map(|state| state.task).collect();
    let owner_of = |state: &TaskState| {
        let word = word_of_mutex(state)?;
        let (_, owner, name) = replayed.lock_owners.iter().find(|(address, ..)| *address == word)?;
        Some((*owner, name.clone()))
    };
    let mut found = false;
    for state in tasks {
        if let (Some((owner, name)), Some(wait)) = (owner_of(state), &mut state.wait) {
            if living.contains(&owner) {
                wait.by = vec![owner];
            } else {
                wait.gone = Some((owner, name));
            }
            found = true;
        }
    }
    found
}

/// Returns the word of the std mutex that a task waits for, if the mutex's owner is not known.
fn word_of_mutex(state: &TaskState) -> Option<u64> {
    /// A part of the names of the functions that wait for a std mutex. The mutexes of other libraries have other words.
    const STD: &str = "std::sys::sync::mutex::futex::";
    let wait = state.wait.as_ref().filter(|wait| wait.on == Awaited::Mutex && wait.by.is_empty())?;
    let names = state.frames.iter().filter_map(|frame| frame.function.as_ref());
    wait.futex.filter(|word| word % 4 == 0 && names.clone().any(|name| name.contains(STD)))
}

/// Returns how long a replay may take from one event to the next. It executes the recorded instructions with fewer
/// stops, so it is hardly slower than the recording.
fn patience(recording: &Recording) -> Duration {
    Duration::from_secs(30) + recording.wall * 10
}

/// Replays the written trace, and compares everything that a user would see.
fn verify(
    recording: &Recording,
    out: &Unnamed,
    path: &Path,
    core: usize,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let file = out.file().try_clone().map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    let trace = Trace::from_file(file, path)?;
    let mut output = Output::default();
    let replayed = replay(
        &trace,
        replay::Options {
            core,
            stop,
            patience: patience(recording),
            watch: &[],
            output: &mut |stream, bytes| output.push(stream, bytes),
        },
    )?;
    let differs = |what: &str, expected: String, found: String| {
        Err(Error::Diverged(Box::new(Divergence {
            event: recording.log.count(),
            task: crate::task::TaskId(0),
            name: String::new(),
            expected: format!("{what}: {expected}"),
            found: format!("{what}: {found}"),
        })))
    };
    if replayed.stats != recording.stats {
        return differs("counts", format!("{:?}", recording.stats), format!("{:?}", replayed.stats));
    }
    if output != recording.output {
        let text = |output: &Output| {
            let parts = output.beginning().chain(output.end());
            parts.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect::<String>()
        };
        return differs("output", text(&recording.output), text(&output));
    }
    Ok(())
}
