//! The build at another preemption level, made beside the attempts at the first one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::build::cargo::{Build, Project};
use crate::build::toolchain::{Refusal, Toolchain};
use crate::campaign::agenda::OtherTests;
use crate::discover::choice::Choice;
use crate::discover::find::Grouping;
use crate::settings::overrides::Overrides;

/// Attempts wait for another build of the tests as long as their own took, and no longer than this: more is due only if there is
/// something to compile.
const PATIENCE: Duration = Duration::from_millis(100);

/// Another build of the tests.
pub(crate) struct BackgroundBuild<'a> {
    pub(crate) project: &'a Project,
    pub(crate) toolchain: &'a Toolchain,
    /// How to build; [`Build::in_background`].
    pub(crate) build: Build<'a>,
    pub(crate) choice: &'a Choice,
    pub(crate) overrides: &'a Overrides,
    pub(crate) grouping: Grouping<'a>,
    /// If it has been begun before there was anything to try.
    pub(crate) ahead: OnceLock<Ahead>,
}

/// A build that is being made.
pub(crate) struct Ahead {
    begun: Instant,
    tests: Mutex<Receiver<OtherTests>>,
}

impl BackgroundBuild<'_> {
    /// Build and list the tests, or wait for that. Nobody wants them any more when the flag becomes true.
    pub(crate) fn tests(&self, stop: &AtomicBool) -> OtherTests {
        match self.ahead.get() {
            Some(ahead) => ahead.lock().recv().unwrap_or_else(|_| Ok(Vec::new())),
            None => self.make(stop),
        }
    }

    fn make(&self, stop: &AtomicBool) -> OtherTests {
        let Build { level, target, build_dir, .. } = self.build;
        if let Some(refusal) = self.toolchain.refusal(level, target, build_dir) {
            return Err(unplain(&match refusal {
                Refusal::Passes(words) => words,
                Refusal::Place(stop) => stop.message.unwrap_or_default(),
            }));
        }
        let built = self.build.run(1, stop);
        let tests = built.and_then(|built| built.tests(self.project, self.choice, self.grouping));
        match tests {
            // Of what was strange about them the first build has told.
            Ok(mut found) => {
                found.tests.iter_mut().for_each(|test| self.overrides.apply(test));
                Ok(found.tests)
            }
            Err(_) if stop.load(Ordering::SeqCst) => Ok(Vec::new()),
            Err(stop) => Err(unplain(&stop.message.unwrap_or_default())),
        }
    }

    /// Begin it before there is anything to try, if it has been made before: then there may be nothing left to do for cargo, and
    /// the first attempts can be at both builds.
    pub(crate) fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>, stop: &'s AtomicBool) {
        if !self.build.build_dir.is_dir() {
            return;
        }
        let (sender, tests) = mpsc::channel();
        let begun = Instant::now();
        let thread = thread::Builder::new().spawn_scoped(scope, move || drop(sender.send(self.make(stop))));
        // Should there be no thread for it, it is made later.
        if thread.is_ok() {
            self.ahead.get_or_init(|| Ahead { begun, tests: Mutex::new(tests) });
        }
    }

    /// The tests, if they have been begun ahead and are there before long.
    pub(crate) fn soon(&self) -> Option<OtherTests> {
        let ahead = self.ahead.get()?;
        ahead.lock().recv_timeout(PATIENCE.min(ahead.begun.elapsed())).ok()
    }
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, Receiver<OtherTests>> {
        self.tests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to say where the tests cannot be built to be preempted at plain accesses.
fn unplain(why: &str) -> String {
    format!(
        "the tests do not build with --preempt memory, so races on plain memory will not be found:\n  {}",
        why.replace('\n', "\n  ")
    )
}
