//! Keeping a recording: into a file, once it has replayed.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Divergence, Error};
use crate::record::Recording;
use crate::replay::{self, replay};
use crate::trace::unnamed::Unnamed;
use crate::trace::writer::{self, Head};
use crate::trace::{Trace, TraceError};

/// What became of a recording that was to be kept.
#[derive(Debug)]
pub struct Kept {
    /// Why the trace did not replay; none means that it is verified. The file is there either way.
    pub divergence: Option<Error>,
}

/// Write `recording` to a new file at `path`, replay it once on `core`, mark it verified if that was faithful, and only
/// then let the name appear. `info` is the caller's own description, given back by [`Trace::info`]. The calling thread
/// is pinned to the core.
///
/// # Errors
/// What kept the file from being written, [`std::io::ErrorKind::AlreadyExists`] if there is one of that name. Nothing is
/// left behind then.
pub fn keep(
    recording: &Recording,
    path: &Path,
    info: &serde_json::Value,
    core: usize,
    stop: &AtomicBool,
) -> Result<Kept, Error> {
    let failed = |source| Error::Os { what: format!("write the trace `{}`", path.display()), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(failed)?;
    let out = Unnamed::create(directory).map_err(failed)?;
    let head = Head {
        program: recording.program.clone(),
        ending: recording.ending.clone(),
        stats: recording.stats,
        info: info.clone(),
    };
    writer::write(&recording.log, &head, &out)?;
    let divergence = match verify(recording, &out, path, core, stop) {
        Ok(()) => {
            writer::mark_verified(&out)?;
            None
        }
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => Some(error),
    };
    out.name(path).map_err(failed)?;
    Ok(Kept { divergence })
}

/// Replay what was written, and compare all that a user would see.
fn verify(
    recording: &Recording,
    out: &Unnamed,
    path: &Path,
    core: usize,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let file = out.file().try_clone().map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    let trace = Trace::from_file(file, path)?;
    let mut output = Vec::new();
    let replayed = replay(
        &trace,
        replay::Options {
            core,
            stop,
            // A replay executes the recorded instructions with fewer stops: it is hardly slower than the recording.
            patience: Duration::from_secs(30) + recording.wall * 10,
            output: &mut |stream, bytes| output.push((stream, bytes.to_vec())),
        },
    )?;
    let differs = |what: &str, expected: String, found: String| {
        Err(Error::Diverged(Box::new(Divergence {
            event: recording.log.count(),
            task: crate::task::TaskId(0),
            name: format!("the whole program: {what}"),
            expected,
            found,
        })))
    };
    if replayed.stats != recording.stats {
        return differs("counts", format!("{:?}", recording.stats), format!("{:?}", replayed.stats));
    }
    if output != recording.output {
        let text = |output: &[(_, Vec<u8>)]| {
            output.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect::<String>()
        };
        return differs("output", text(&recording.output), text(&output));
    }
    Ok(())
}
