//! The build at another preemption level, made beside the attempts at the first one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::cargo::{Build, Project};
use crate::discover::{self, Grouping, Test};
use crate::instrument::Level;
use crate::libtest::Filter;
use crate::toolchain::Toolchain;

/// Attempts wait for another build of the tests as long as half of what their own took, and no longer than this.
const PATIENCE: Duration = Duration::from_millis(100);

/// Another build of the tests, still to be made.
pub(crate) struct Beside<'a> {
    pub(crate) project: &'a Project,
    pub(crate) toolchain: &'a Toolchain,
    /// How to build; [`Build::in_background`].
    pub(crate) build: Build<'a>,
    pub(crate) filter: &'a Filter,
    pub(crate) grouping: Grouping<'a>,
}

/// The tests of a build, or what the user should know of why there is none.
pub(crate) type Outcome = Result<Vec<Test>, String>;

/// Another build of the tests that is being made.
pub(crate) struct Ahead {
    level: Level,
    begun: Instant,
    outcome: Receiver<Outcome>,
}

impl Beside<'_> {
    /// Build and list the tests. Nobody wants them any more when the flag becomes true.
    pub(crate) fn tests(&self, stop: &AtomicBool) -> Outcome {
        let Build { level, target, build_dir, .. } = self.build;
        if let Some(refusal) = self.toolchain.refusal(level, target, build_dir) {
            return Err(unplain(&refusal));
        }
        let built = self.build.run(1, stop);
        let tests = built.and_then(|built| discover::tests(self.project, &built, self.filter, self.grouping));
        match tests {
            Ok(tests) => Ok(tests),
            Err(_) if stop.load(Ordering::SeqCst) => Ok(Vec::new()),
            Err(stop) => Err(unplain(&stop.message.unwrap_or_default())),
        }
    }

    /// Make it before there is anything to try, if it has been made before: then there may be nothing left to do for cargo, and
    /// the first attempts can be at both builds.
    pub(crate) fn ahead<'s>(&'s self, scope: &'s Scope<'s, '_>, stop: &'s AtomicBool) -> Option<Ahead> {
        if !self.build.build_dir.is_dir() {
            return None;
        }
        let (sender, outcome) = mpsc::channel();
        let begun = Instant::now();
        // Should there be no thread for it, it is made later.
        thread::Builder::new().spawn_scoped(scope, move || drop(sender.send(self.tests(stop)))).ok()?;
        Some(Ahead { level: self.build.level, begun, outcome })
    }
}

impl Ahead {
    /// The outcome, if it is there before long.
    pub(crate) fn soon(self) -> Result<(Level, Outcome), Self> {
        let patience = PATIENCE.min(self.begun.elapsed() / 2);
        match self.outcome.recv_timeout(patience) {
            Ok(outcome) => Ok((self.level, outcome)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self),
        }
    }

    /// The outcome, whenever it comes.
    pub(crate) fn wait(&self) -> Outcome {
        self.outcome.recv().unwrap_or_else(|_| Ok(Vec::new()))
    }
}

/// What to say where the tests cannot be built to be preempted at plain accesses.
fn unplain(why: &str) -> String {
    format!(
        "the tests do not build with --preempt memory, so races on plain memory will not be found:\n  {}",
        why.replace('\n', "\n  ")
    )
}
