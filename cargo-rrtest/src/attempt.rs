//! One attempt: record a test, judge the outcome, keep the trace if it is worth keeping.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rrtest_engine::Error;
use rrtest_engine::claims::Claims;
use rrtest_engine::ending::{Ending, Stats};
use rrtest_engine::keep::{self, Kept};
use rrtest_engine::output::Output;
use rrtest_engine::patience::{Effort, Patience};
use rrtest_engine::program::Program;
use rrtest_engine::record::{self, Listener, Options, Outsiders, Recording, Stdin, Template, Time};
use rrtest_engine::schedule::portfolio::Measured;
use rrtest_engine::schedule::surprise::{Struck, Surprises};
use rrtest_engine::schedule::{Plan, StrategyName};
use serde_json::{Value, json};

use crate::describe;
use crate::discover::Test;
use crate::events;
use crate::fingerprint::Fingerprint;
use crate::instrument::Level;
use crate::libtest::failed_tests;
use crate::needy;
use crate::order::{Order, Ran};
use crate::outcome::Outcome;
use crate::output;
use crate::seed::Seed;
use crate::strikes;
use crate::templates::{Base, Start};
use crate::traces::{Keep, Store};

/// How many cores recorded programs are told there are. The same everywhere, so that a seed means the same everywhere;
/// enough for pools that size themselves by it to have several threads.
pub(crate) const PRETEND_CORES: usize = 4;

/// What computes no longer than this is replayed in no time.
const MOMENT: Duration = Duration::from_millis(300);

/// What an attempt needs of the engine.
pub(crate) trait Engine: Sync {
    /// See [`record::record`].
    fn record(&self, program: &Program, options: &Options<'_>) -> Result<Recording, Error>;
    /// See [`Template::start`].
    fn template(&self, program: &Program, options: &Options<'_>) -> Result<Result<Template, String>, Error>;
    /// See [`keep::keep`].
    fn keep(
        &self,
        recording: &Recording,
        path: &Path,
        info: &Value,
        core: usize,
        stop: &AtomicBool,
    ) -> Result<Kept, Error>;
}

/// The engine itself.
#[derive(Debug)]
pub(crate) struct Real;

impl Engine for Real {
    fn record(&self, program: &Program, options: &Options<'_>) -> Result<Recording, Error> {
        record::record(program, options)
    }

    fn template(&self, program: &Program, options: &Options<'_>) -> Result<Result<Template, String>, Error> {
        Template::start(program, options)
    }

    fn keep(
        &self,
        recording: &Recording,
        path: &Path,
        info: &Value,
        core: usize,
        stop: &AtomicBool,
    ) -> Result<Kept, Error> {
        keep::keep(recording, path, info, core, stop)
    }
}

/// What all attempts of a run have in common.
pub(crate) struct Setting<'a> {
    /// Who records.
    pub(crate) engine: &'a dyn Engine,
    /// Where traces go.
    pub(crate) store: &'a Store,
    /// Which traces to keep.
    pub(crate) keep: Keep,
    /// How long an attempt may run.
    pub(crate) timeout: Duration,
    /// Whether it may be called hung before that, for what the test usually takes.
    pub(crate) judges: bool,
    /// Where programs' standard input comes from.
    pub(crate) stdin: Stdin,
    /// Whether processes outside come to what programs have made under a name.
    pub(crate) outsiders: Outsiders,
    /// Who gets programs' output as it is written, besides the report.
    pub(crate) listener: Option<Listener<'a>>,
    /// The strategies that the user has chosen; empty means any.
    pub(crate) strategies: &'a [StrategyName],
    /// When it becomes true, recordings end where they are, and none is verified any more.
    pub(crate) end: Option<&'a AtomicBool>,
    /// How time passes for programs.
    pub(crate) time: Time,
    /// What may surprise them; none: the usual under chaos, else nothing.
    pub(crate) surprises: Option<Surprises>,
    /// The compiler that built them.
    pub(crate) rustc: &'a str,
    /// The failures that are known, and whether a trace of each is kept.
    pub(crate) known: Mutex<HashMap<Fingerprint, bool>>,
    /// Where all `cargo rrtest` on the machine see what the others' attempts use; none: this is the only one.
    pub(crate) in_use: Option<PathBuf>,
    /// Held while a failure is being judged, which ends with its replay.
    pub(crate) judging: Mutex<()>,
}

/// Which attempt to make.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// How it was built.
    pub(crate) level: Level,
    /// Which attempt of it, from 1.
    pub(crate) number: u64,
    /// Its seed.
    pub(crate) seed: Seed,
    /// Which tests it runs, of several together.
    pub(crate) order: Order,
    /// Whether to count what others can make use of.
    pub(crate) measure: bool,
    /// What its attempts usually take; none if none has ended.
    pub(crate) patience: Option<Patience>,
    /// It is cut off when it runs past this.
    pub(crate) until: Option<Instant>,
    /// Whether to see what it only looks at, too, which takes longer.
    pub(crate) watched: bool,
}

/// An attempt that has been made, but not judged.
pub(crate) struct Made {
    attempt: events::Attempt,
    order: Order,
    /// None if the recorder has failed.
    recording: Option<Recording>,
    claims: Arc<Claims>,
    /// Whether no attempt at the test had ended before.
    first: bool,
}

impl Made {
    /// What is known of it.
    pub(crate) fn attempt(&self) -> &events::Attempt {
        &self.attempt
    }

    /// What it has come to.
    pub(crate) fn outcome(&self) -> Outcome {
        self.attempt.outcome
    }

    /// What it has used that others could use, too.
    pub(crate) fn claims(&self) -> Arc<Claims> {
        Arc::clone(&self.claims)
    }
}

impl Setting<'_> {
    /// Make an attempt on `core`, from `base` if there is one: if there will be more of the same test here. When `stop` becomes true
    /// it is given up, which is an error.
    ///
    /// # Errors
    /// [`Error::Stopped`], and [`Error::Forbidden`], which no further attempt would escape. Other errors are outcomes.
    pub(crate) fn record(
        &self,
        job: Job,
        core: usize,
        base: Option<&mut Base>,
        stop: &AtomicBool,
    ) -> Result<Made, Error> {
        let plan = job.seed.plan(self.strategies);
        let first = job.patience.is_none();
        let mut attempt = events::Attempt {
            test: job.test,
            number: job.number,
            seed: job.seed,
            strategy: plan.strategy,
            level: job.level,
            time: self.time,
            struck: Struck::default(),
            strikes: Vec::new(),
            outcome: Outcome::Error,
            ending: None,
            output: Output::default(),
            failed_tests: Vec::new(),
            ran: None,
            passes_together: false,
            stats: Stats::default(),
            measured: Measured::default(),
            decided: Vec::new(),
            wall: Duration::ZERO,
            effort: Effort::default(),
            start: Start::Full,
            trace: None,
            repeats: false,
            message: None,
        };
        let options = Options {
            measure: job.measure,
            patience: job.patience.filter(|_| self.judges),
            until: job.until,
            listener: self.listener,
            watchdog_main: attempt.test.harness,
            calls_stop: job.watched,
            ..self.options(plan, core, stop)
        };
        let test = Arc::clone(&attempt.test);
        let program = job.order.program(job.seed, &test);
        let recorded = match base {
            Some(base) => base.record(self.engine, &program, &options),
            None => self.engine.record(&program, &options).map(|recording| (recording, Start::Full)),
        };
        let mut claims = Claims::default();
        let recording = match recorded {
            Ok((mut recording, start)) => {
                attempt.start = start;
                attempt.outcome = Outcome::of(&recording.ending);
                attempt.measured = std::mem::take(&mut recording.measured);
                attempt.decided = std::mem::take(&mut recording.decided);
                attempt.stats = recording.stats;
                attempt.struck = recording.struck;
                attempt.strikes = std::mem::take(&mut recording.strikes);
                (attempt.wall, attempt.effort) = (recording.wall, recording.effort);
                claims = std::mem::take(&mut recording.claims);
                Some(recording)
            }
            Err(error @ (Error::Stopped | Error::Forbidden { .. })) => return Err(error),
            // Ctrl-C goes to all of a terminal's processes, to one that is just being started as well.
            Err(_) if stop.load(Ordering::SeqCst) => return Err(Error::Stopped),
            Err(error) => {
                attempt.message = Some(error.to_string());
                None
            }
        };
        Ok(Made { attempt, order: job.order, recording, claims: Arc::new(claims), first })
    }

    /// How programs are recorded under a plan, if there is nothing special about them.
    pub(crate) fn options<'o>(&'o self, plan: Plan, core: usize, stop: &'o AtomicBool) -> Options<'o> {
        let by_default = match plan.strategy {
            StrategyName::Fair | StrategyName::Systematic => Surprises::NONE,
            _ => Surprises::USUAL,
        };
        Options {
            plan,
            measure: false,
            time: self.time,
            surprises: self.surprises.unwrap_or(by_default),
            core,
            pretend_cores: PRETEND_CORES,
            timeout: self.timeout,
            patience: None,
            until: None,
            stdin: self.stdin,
            listener: None,
            watchdog_main: false,
            outsiders: self.outsiders,
            wakes_stop: false,
            calls_stop: false,
            end: self.end,
            stop,
        }
    }

    /// Wait until no failure is being judged: it may turn out to be the last attempt.
    pub(crate) fn wait_for_judgement(&self) {
        drop(self.judging.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// See what has become of an attempt, and keep its trace if that is to be: a failure that has been found is kept whatever else
    /// ends meanwhile.
    pub(crate) fn judge(&self, made: Made, core: usize, stop: &AtomicBool) -> events::Attempt {
        let Made { mut attempt, order, recording, first, .. } = made;
        let Some(recording) = recording else { return attempt };
        // If nothing else is known of the test, this is worth the moment that it takes to keep it; but not more.
        let last = attempt.outcome == Outcome::Unfinished && first && attempt.effort.computed < MOMENT;
        if let Ending::Unsupported { what, task, name } = &recording.ending {
            attempt.message = Some(describe::unsupported(what, *task, name));
            // Another core may have tried the same test at the same time.
            let fingerprint = Fingerprint::of(&attempt.test.id(), &recording.ending, "");
            attempt.repeats = self.known().insert(fingerprint, false).is_some();
        } else if attempt.outcome.is_failure() || last {
            let _judging = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
            let output = output::both(&recording.output);
            if attempt.test.is_together() {
                attempt.failed_tests = failed_tests(&output);
                attempt.ran = Ran::of(order, attempt.seed, &attempt.test, &output);
            }
            let fingerprint = Fingerprint::of(&attempt.test.id(), &recording.ending, &output);
            let known = self.known().get(&fingerprint).copied();
            let is_kept = known == Some(true);
            if self.keep == Keep::Always || !is_kept {
                self.keep(&mut attempt, &recording, core);
            }
            // One that does not replay is not known: the next failure of this kind may be kept in its place.
            if attempt.outcome != Outcome::Error {
                let kept_now = attempt.trace.is_some();
                self.known().insert(fingerprint, is_kept || kept_now);
                // What could not be kept before, and now is, is told as if it were new.
                attempt.repeats = is_kept || (known.is_some() && !kept_now);
            }
            // Once a test: of failures side by side one is told, and later ones come after others have ended.
            if first && !attempt.repeats {
                attempt.passes_together = needy::passes_together(self, &attempt, core, stop);
            }
        } else if self.keep == Keep::Always {
            self.keep(&mut attempt, &recording, core);
        }
        attempt.ending.get_or_insert(recording.ending);
        attempt.output = recording.output;
        attempt
    }

    /// Keep the trace. If it does not replay, the outcome is an error of ours. If it cannot be kept, a failure stays one: it
    /// has been found, and its seed may find it again.
    fn keep(&self, attempt: &mut events::Attempt, recording: &Recording, core: usize) {
        // Not given up on Ctrl-C: a failure that was found is worth the moment. A second Ctrl-C ends the process.
        let never = AtomicBool::new(false);
        let kept = self
            .store
            .new_path(&attempt.test.binary, attempt.test.title(), &attempt.seed.short())
            .map_err(|stop| stop.message.unwrap_or_default());
        let kept = kept.and_then(|path| {
            let info = info(attempt, self.rustc);
            let stop = self.end.unwrap_or(&never);
            let kept =
                self.engine.keep(recording, &path, &info, core, stop).map_err(|error| error.to_string())?;
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
                        "the attempt {outcome}, but its trace does not replay: this is a bug of rrtest, please report \
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

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Fingerprint, bool>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a trace says of itself.
fn info(attempt: &events::Attempt, rustc: &str) -> Value {
    let failed_tests = attempt.test.is_together().then_some(&attempt.failed_tests);
    json!({
        "package": attempt.test.package,
        "binary": attempt.test.binary,
        "test": attempt.test.name,
        "failed_tests": failed_tests,
        "order": attempt.ran.as_ref().map(|ran| ran.lines().join("\n")),
        "attempt": attempt.number,
        "seed": attempt.seed.to_string(),
        "strategy": attempt.strategy.as_str(),
        "preempt": attempt.level.name(),
        "time": attempt.time.as_str(),
        "surprises": (!attempt.struck.is_empty()).then(|| attempt.struck.to_string()),
        "struck": if attempt.outcome.is_failure() { strikes::sentences(&attempt.strikes) } else { Vec::new() },
        "outcome": attempt.outcome,
        "created": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "rustc": rustc,
        "rrtest": env!("CARGO_PKG_VERSION"),
    })
}
