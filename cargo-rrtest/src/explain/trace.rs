//! Keeps the recording of the smallest schedule, in place of the first one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use rrtest_engine::record::Recording;
use rrtest_engine::trace::Trace;
use serde_json::{Value, json};

use super::case::Case;
use crate::attempt::record::Setting;
use crate::ending::explanation::Explanation;
use crate::ending::strikes;
use crate::store::limit;

/// Keeps a recording in place of a case's trace, once it has replayed. Returns the trace that there is now, and the
/// reason if it is still the first one. That stays as it is unless the smaller one is complete.
pub(super) fn replace(
    setting: &Setting<'_>,
    case: &Case,
    recording: &Recording,
    explanation: &Explanation,
    core: usize,
    keep_original: bool,
) -> Result<PathBuf, String> {
    let first = &case.trace.path;
    let _writing = limit::writing(&setting.store.dir);
    let needed = is_needed(setting, first);
    // A name that is no trace's, until it has replayed.
    let new = first.with_extension("smallest");
    let beside: Vec<_> = setting.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let beside: Vec<_> = beside.into_iter().filter(|path| needed || path != first).collect();
    let info = info(case, recording, explanation);
    let never = AtomicBool::new(false);
    // What an attempt before this one may have left there.
    drop(fs::remove_file(&new));
    let kept = setting
        .engine
        .keep(recording, &new, &beside, &info, core, &never)
        .map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| {
        drop(fs::remove_file(&new));
        error.to_string()
    };
    if let Some(divergence) = kept.divergence {
        drop(fs::remove_file(&new));
        return Err(format!("its trace does not replay: this is a bug in rrtest\n{divergence}"));
    }
    if needed {
        let path = renamed(first, "smallest");
        fs::rename(&new, &path).map_err(failed)?;
        return Ok(path);
    }
    if keep_original {
        fs::rename(first, renamed(first, "original")).map_err(failed)?;
    }
    fs::rename(&new, first).map_err(failed)?;
    Ok(first.clone())
}

fn renamed(trace: &Path, what: &str) -> PathBuf {
    let stem = trace.file_stem().unwrap_or_default().to_string_lossy();
    let extension = trace.extension().unwrap_or_default().to_string_lossy();
    trace.with_file_name(format!("{stem}-{what}.{extension}"))
}

/// Whether another trace has left out contents that this one has.
fn is_needed(setting: &Setting<'_>, trace: &Path) -> bool {
    let Some(name) = trace.file_name() else { return true };
    // What cannot be looked at might.
    let Ok(entries) = setting.store.entries() else { return true };
    let others = entries.into_iter().filter(|entry| entry.path != trace);
    others
        .filter_map(|entry| Trace::open(&entry.path).ok())
        .any(|other| other.beside().iter().any(|beside| beside == name))
}

/// What the new trace says of itself: what the first one did, but for what is different.
fn info(case: &Case, recording: &Recording, explanation: &Explanation) -> Value {
    let mut info = case.info.clone();
    info["surprises"] = json!((!recording.struck.is_empty()).then(|| recording.struck.to_string()));
    info["struck"] = json!(strikes::sentences(&recording.strikes));
    info["explanation"] = json!(explanation);
    info
}
