//! What becomes of an attempt that was made: its outcome is judged, its trace kept if it is worth keeping.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::keep::Kept;
use rrtest_engine::record::Recording;
use serde_json::{Value, json};

use super::events::{self, Attempt};
use super::needy;
use super::order::Ran;
use super::record::{Known, Made, Setting};
use crate::discover::libtest::failed_tests;
use crate::ending::describe;
use crate::ending::fingerprint::Fingerprint;
use crate::ending::outcome::Outcome;
use crate::ending::output;
use crate::ending::strikes;
use crate::store::limit;
use crate::store::traces::Keep;

/// What computes no longer than this is replayed in no time.
const MOMENT: Duration = Duration::from_millis(300);

impl Setting<'_> {
    /// Wait until no failure is being judged: it may turn out to be the last attempt.
    pub(crate) fn wait_for_judgement(&self) {
        drop(self.judging.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// See what has become of an attempt, and keep its trace if that is to be: a failure that has been found is kept whatever else
    /// ends meanwhile.
    pub(crate) fn judge(&self, made: Made, core: usize, stop: &AtomicBool) -> Attempt {
        let Made { mut attempt, order, recording, first, .. } = made;
        let Some(recording) = recording else { return attempt };
        // If nothing else is known of the test, this is worth the moment that it takes to keep it; but not more.
        let last = attempt.outcome == Outcome::Unfinished && first && attempt.effort.computed < MOMENT;
        // A failure that was found is worth the moment even after Ctrl-C, of which a second one ends the process.
        let never = AtomicBool::new(false);
        if let Ending::Unsupported { what, task, name } = &recording.ending {
            attempt.message = Some(describe::unsupported(what, *task, name));
            // Another core may have tried the same test at the same time.
            let fingerprint = Fingerprint::of(&attempt.test.id(), &recording.ending, "");
            let first = Known { attempt: attempt.number, kept: false };
            attempt.repeats = self.known().insert(fingerprint, first).map(|known| known.attempt);
        } else if attempt.outcome.is_failure() || last {
            let _judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
            let output = output::both(&recording.output);
            if attempt.test.is_together() {
                attempt.failed_tests = failed_tests(&output);
                attempt.ran = Ran::of(order, attempt.seed, &attempt.test, &output);
            }
            let fingerprint = Fingerprint::of(&attempt.test.id(), &recording.ending, &output);
            let known = self.known().get(&fingerprint).copied();
            let is_kept = known.is_some_and(|known| known.kept);
            if self.keep == Keep::Always || !is_kept {
                self.keep(&mut attempt, &recording, core, if last { stop } else { &never });
            }
            // One that does not replay is not known: the next failure of this kind may be kept in its place.
            if attempt.outcome != Outcome::Error {
                let kept_now = attempt.trace.is_some();
                // What could not be kept before, and now is, is told as if it were new.
                let repeated = known.filter(|_| is_kept || !kept_now);
                let first = repeated.map_or(attempt.number, |known| known.attempt);
                self.known().insert(fingerprint, Known { attempt: first, kept: is_kept || kept_now });
                attempt.repeats = repeated.map(|known| known.attempt);
            }
            // Once a test: of failures side by side one is told, and later ones come after others have ended.
            if first && attempt.repeats.is_none() {
                attempt.passes_together = needy::passes_together(self, &attempt, core, stop);
            }
        } else if self.keep == Keep::Always {
            self.keep(&mut attempt, &recording, core, &never);
        }
        attempt.ending.get_or_insert(recording.ending);
        attempt.output = recording.output;
        attempt
    }

    /// Note a trace that has been kept, for later ones.
    fn note_kept(&self, path: &Path) {
        /// More are not looked through for contents in common.
        const MOST: usize = 8;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(path.to_owned());
        }
    }

    /// Keep the trace. If it does not replay, the outcome is an error of ours. If it cannot be kept, a failure stays one: it
    /// has been found, and its seed may find it again. When `stop` becomes true, it is not verified any more.
    fn keep(&self, attempt: &mut Attempt, recording: &Recording, core: usize, stop: &AtomicBool) {
        let kept = self
            .store
            .new_path(&attempt.test.binary, attempt.test.title(), &attempt.schedule_name())
            .map_err(|stop| stop.message.unwrap_or_default());
        let _writing = limit::writing(&self.store.dir);
        let kept = kept.and_then(|path| {
            let info = info(attempt, self.rustc);
            let stop = self.verification_ends.or(self.end).unwrap_or(stop);
            let beside = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let kept = self
                .engine
                .keep(recording, &path, &beside, &info, core, stop)
                .map_err(|error| error.to_string())?;
            self.note_kept(&path);
            Ok((path, kept))
        });
        let outcome = attempt.outcome.name();
        match kept {
            Ok((path, Kept { divergence, ending })) => {
                attempt.ending = Some(ending);
                attempt.trace =
                    Some(events::Kept { path, verified: divergence.is_none(), by_name: self.store.usual });
                let divergence = divergence.filter(|why| !matches!(why, Error::Stopped));
                attempt.outcome = if divergence.is_some() { Outcome::Error } else { attempt.outcome };
                attempt.message = divergence.map(|divergence| {
                    format!(
                        "the attempt {outcome}, but its trace does not replay: this is a bug in rrtest; please report \
                         it with the trace\n{divergence}"
                    )
                });
            }
            Err(message) => {
                attempt.message =
                    Some(format!("the attempt {outcome}, but its trace cannot be kept: {message}"));
                if !attempt.outcome.is_failure() {
                    attempt.outcome = Outcome::Error;
                }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Fingerprint, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what a trace says of itself.
pub(crate) fn info(attempt: &Attempt, rustc: &str) -> Value {
    let failed_tests = attempt.test.is_together().then_some(&attempt.failed_tests);
    json!({
        "package": attempt.test.package,
        "binary": attempt.test.binary,
        "test": attempt.test.name,
        "failed_tests": failed_tests,
        "order": attempt.ran.as_ref().map(|ran| ran.lines().join("\n")),
        "attempt": attempt.number,
        "pinned": attempt.pinned.as_deref(),
        "seed": attempt.seed.to_string(),
        "strategy": attempt.strategy.as_str(),
        "preempt": attempt.level.name(),
        "time": attempt.time.as_str(),
        "cpu": attempt.processor.as_str(),
        "surprises": (!attempt.struck.is_empty()).then(|| attempt.struck.to_string()),
        "struck": if attempt.outcome.is_failure() { strikes::sentences(&attempt.strikes) } else { Vec::new() },
        "outcome": attempt.outcome,
        "created": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        // Empty where another front end has built the test.
        "rustc": Some(rustc).filter(|rustc| !rustc.is_empty()),
        "rrtest": env!("CARGO_PKG_VERSION"),
    })
}
