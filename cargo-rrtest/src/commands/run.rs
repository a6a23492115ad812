//! `run`: build, find the tests, run the campaign, report.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use clap::ColorChoice;
use rrtest_engine::patience::Limit;
use rrtest_engine::record::{Outsiders, Stdin};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::event::Stream;

use super::background_build::BackgroundBuild;
use super::list;
use super::options::run::Run;
use super::options::values::{NeverRan, Report};
use super::prune;
use super::single::pass_on;
use crate::attempt::engine::Real;
use crate::attempt::events::{NotBuilt, Reporter, RunEvent, Summary, tell};
use crate::attempt::record::Setting;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::words;
use crate::build::cargo::{self, Build, Project, runner_of_user};
use crate::build::config::Config;
use crate::build::instrument::Level;
use crate::build::selection::Selection;
use crate::build::toolchain::{Refusal, Toolchain};
use crate::campaign::agenda::{Agenda, Other, Subject};
use crate::campaign::dispatch;
use crate::campaign::verify::Attempts;
use crate::discover::choice::Choice;
use crate::discover::find::{Discovered, Grouping};
use crate::discover::libtest::{Filter, Shown};
use crate::pins::find::{self as pins, Manner, Pins};
use crate::report::display::{Detail, Display};
use crate::report::github::command::Guard;
use crate::report::github::runner::Runner;
use crate::report::github::{GitHub, Sources};
use crate::report::json::Json;
use crate::report::junit::JUnit;
use crate::report::progress::Progress;
use crate::settings::layers::Settings;
use crate::store::traces::Store;

/// Run the command. Cargo is told when to use colours, too.
pub(crate) fn run(
    options: &Run,
    settings: &Settings,
    color: Option<ColorChoice>,
) -> Result<Status, CliError> {
    let selection = options.selection();
    if selection.asks_for_unstable_flags() {
        return cargo::list_unstable_flags();
    }
    let deadline = options.deadline.and_then(|time| Instant::now().checked_add(time));
    let filter = Filter::parse(options.name.as_deref(), &options.args)?;
    check(options)?;
    let interrupt = Interrupt::install()?;
    let cores = cores()?;
    // What is shown as it is written is to be read: one after the other.
    let one_by_one = filter.shown == Shown::AtOnce && !options.together;
    let slots = if one_by_one { 1 } else { options.slots(filter.threads, cores.len()) };
    // Who wants more side by side has tests that mostly wait: they share cores.
    let cores: Vec<usize> = cores.into_iter().cycle().take(slots).collect();
    let mut warnings = settings.warnings.clone();

    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let config = Config::load(&cwd, &selection.config);
    // Each takes a moment, and none needs the others.
    let (project, toolchain) = thread::scope(|scope| {
        scope.spawn(rrtest_engine::record::get_ready);
        let toolchain = scope.spawn(|| Toolchain::find(&cwd, &config));
        (Project::find(&selection), toolchain.join())
    });
    let mut reporters = reporters(options, filter.shown, project.as_ref().ok());
    let project = project.or_else(|stop| not_built(stop, false, &mut reporters))?;
    let toolchain = toolchain.map_err(|_| CliError::said(Status::Recorder))?;
    let toolchain = toolchain.or_else(|stop| not_built(stop, false, &mut reporters))?;
    let target = target(&selection, &config, &toolchain)?;
    let level =
        usable_level(options.preempt.unwrap_or(Level::Sync), &toolchain, &target, &project, &mut warnings)?;
    if let Some(runner) = runner_of_user(&config, &target) {
        warnings.push(format!("the target runner {runner} is ignored: the recorder starts the tests"));
    }
    for warning in warnings {
        tell(&mut reporters, &RunEvent::Warning(warning))?;
    }
    let build_dir = level.build_dir(&project.target_dir);
    let secrets = options.recording.secrets();
    let build = Build {
        selection: &selection,
        target: &target,
        level,
        build_dir: &build_dir,
        config: &config,
        verbosity: if options.quiet { -1 } else { i16::from(options.verbose.saturating_sub(1)) },
        color,
        no_run: options.no_run,
        short: options.report() == Report::Short,
        deadline,
        has_examples: project.has_examples(),
        in_background: false,
        secrets: &secrets,
    };
    let args: Vec<String> = options.name.iter().chain(&options.args).cloned().collect();
    let grouping = Grouping { together: options.together, args: &args };
    let memory_dir = Level::Memory.build_dir(&project.target_dir);
    let shown = filter.shown;
    let list = filter.list.then_some(list::Form { terse: filter.terse });
    let choice = Choice { filter, filtersets: options.filtersets.clone(), partition: options.partition };
    let beside = BackgroundBuild {
        project: &project,
        toolchain: &toolchain,
        build: Build { level: Level::Memory, build_dir: &memory_dir, in_background: true, ..build.clone() },
        choice: &choice,
        overrides: &settings.overrides,
        grouping,
        ahead: OnceLock::new(),
    };
    let wanted = level == Level::Sync && options.more_levels() && !options.no_run && list.is_none();
    let beside = Some(&beside).filter(|_| wanted);
    let (project, toolchain, build, choice) = (&project, &toolchain, &build, &choice);
    let hunt = Hunt { options, settings, project, toolchain, build, choice, grouping, list, shown, deadline };
    thread::scope(|scope| {
        if let Some(beside) = beside {
            beside.begin(scope, &interrupt.stop);
        }
        let ended = hunt.run(beside, &cores, &interrupt, &mut reporters);
        // However it has ended, nobody wants another build any more.
        interrupt.stop.store(true, Ordering::SeqCst);
        ended
    })
}

/// What to look for failures in.
struct Hunt<'a> {
    options: &'a Run,
    settings: &'a Settings,
    project: &'a Project,
    toolchain: &'a Toolchain,
    build: &'a Build<'a>,
    choice: &'a Choice,
    grouping: Grouping<'a>,
    /// The tests are to be listed only.
    list: Option<list::Form>,
    shown: Shown,
    /// When all is to be over.
    deadline: Option<Instant>,
}

impl Hunt<'_> {
    /// Build the tests, and run the campaign. `beside` is another build of them, if there is to be one.
    fn run(
        &self,
        beside: Option<&BackgroundBuild<'_>>,
        cores: &[usize],
        interrupt: &Interrupt,
        reporters: &mut [Box<dyn Reporter>],
    ) -> Result<Status, CliError> {
        let Self { options, project, .. } = self;
        let built = self.build.run(cores.len(), &interrupt.stop);
        if interrupt.by_user() {
            return Err(CliError::said(Status::Interrupted));
        }
        let built = match built {
            Ok(built) => built,
            Err(_) if self.is_late() => return self.too_late(reporters),
            Err(stop) => return not_built(stop, true, reporters),
        };
        if built.without_c {
            let warning =
                "C or C++ code does not build with the clock compiled in; threads are not preempted there";
            tell(reporters, &RunEvent::Warning(warning.to_owned()))?;
        }
        if options.no_run {
            return Ok(Status::Success);
        }
        let found = built.tests(project, self.choice, self.grouping)?;
        let pins = self.pins(&found, beside.is_some())?;
        let Discovered { mut tests, ignored, warnings, elsewhere, listed: _ } = found;
        tests.iter_mut().for_each(|test| self.settings.overrides.apply(test));
        if let Some(form) = self.list {
            return list::print(&tests, form, options.report()).map(|()| Status::Success);
        }
        warnings
            .into_iter()
            .chain(pins.warnings)
            .try_for_each(|warning| tell(reporters, &RunEvent::Warning(warning)))?;
        if tests.is_empty() && elsewhere > 0 {
            let warning = format!("none of {} is in this partition", words::count(elsewhere as u64, "test"));
            tell(reporters, &RunEvent::Warning(warning))?;
            tell(reporters, &RunEvent::Summary(Summary::of_none(0, options.together)))?;
            return Ok(Status::Success);
        }
        if tests.is_empty() {
            return Err(CliError::new(
                Status::NoTests,
                "no test matched\n  `cargo rrtest -- --list` lists all tests",
            ));
        }
        if self.is_late() {
            return self.too_late(reporters);
        }

        let store = match &options.recording.trace_dir {
            Some(dir) => Store::at(dir)?,
            None => Store::of(project, self.build.selection),
        };
        let schedule = schedule(options, self.deadline);
        let strategies = schedule.strategies.clone();
        let to_terminal = |stream: Stream, bytes: &[u8]| {
            // With JSON, standard output has nothing else.
            if stream == Stream::Stdout && options.report() != Report::Json {
                pass_on(io::stdout().as_fd(), bytes, &interrupt.stop)
            } else {
                pass_on(io::stderr().as_fd(), bytes, &interrupt.stop)
            }
        };
        let setting = Setting {
            engine: &Real,
            store: &store,
            keep: options.recording.keep,
            limit: options.timeout.map_or(Limit::Usual(None), Limit::Real),
            stdin: Stdin::Null,
            outsiders: Outsiders::StayAway,
            listener: (self.shown == Shown::AtOnce).then_some(&to_terminal),
            strategies: &strategies,
            time: options.recording.time,
            processor: options.recording.cpu,
            takes_apart: false,
            surprises: options.recording.surprises,
            faults: &options.recording.faults,
            rustc: self.toolchain.version(),
            known: Mutex::default(),
            kept: Mutex::default(),
            end: None,
            verification_ends: None,
            attached: options.recording.attached(project.metadata.workspace_root.clone().into_std_path_buf()),
            in_use: Some(dispatch::in_use()),
            judging: Mutex::default(),
        };
        if let Some(old) = &options.verify {
            let level = self.build.level;
            let attempts =
                Attempts { old, tests, level, agenda: schedule, setting: &setting, cores, interrupt };
            let summary = attempts.make(reporters);
            return summary.and_then(|summary| tell_summary(summary, options.never_ran, reporters));
        }
        let make = beside.map(|beside| |stop: &AtomicBool| beside.tests(stop));
        let other = beside.zip(make.as_ref()).map(|(beside, make)| {
            (beside.build.level, beside.soon().map_or(Other::Coming(make), Other::Ready))
        });
        let subject = Subject { tests, pins: pins.pins, ignored, level: self.build.level, other };
        let summary = dispatch::run(subject, schedule, &setting, cores, interrupt, reporters);
        let told = summary.and_then(|summary| tell_summary(summary, options.never_ran, reporters));
        // What was kept stays within bounds however the run has ended.
        prune::prune(&store, options.recording.trace_limit, options.quiet);
        told
    }

    /// The pins of the tests that were found, unless the run is for something else. `more`: there will be a build for plain
    /// accesses, too.
    fn pins(&self, found: &Discovered, more: bool) -> Result<Pins, CliError> {
        let Self { options, project, build, list, .. } = self;
        let plain = options.strategies() == [StrategyName::Fair];
        if list.is_some() || options.verify.is_some() || plain {
            return Ok(Pins::default());
        }
        let levels = if more { &[build.level, Level::Memory][..] } else { &[build.level] };
        let manner = Manner { levels, time: options.recording.time, together: options.together };
        pins::pins(&project.metadata.packages, found, manner)
    }

    /// Whether the time for everything is over.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The time is over before any test could run.
    fn too_late(&self, reporters: &mut [Box<dyn Reporter>]) -> Result<Status, CliError> {
        let status = if fails(self.options.never_ran) { Status::NeverRan } else { Status::Success };
        let time = humantime::format_duration(self.options.deadline.unwrap_or_default());
        let message = format!("no test ran: the build took all of the {time} until --deadline");
        let exit_code = status as u8;
        tell(
            reporters,
            &RunEvent::NotBuilt(NotBuilt { too_late: true, message: message.clone(), exit_code }),
        )?;
        match (status, self.options.never_ran) {
            (Status::NeverRan, _) => Err(CliError::new(status, message)),
            (_, NeverRan::Pass) => Ok(status),
            _ => tell(reporters, &RunEvent::Warning(message)).map(|()| status),
        }
    }
}

/// Tell what has come of a run, and say how it ends.
pub(super) fn tell_summary(
    mut summary: Summary,
    never_ran: NeverRan,
    reporters: &mut [Box<dyn Reporter>],
) -> Result<Status, CliError> {
    let status = status(&summary, never_ran);
    summary.exit_code = status as u8;
    if never_ran == NeverRan::Pass {
        summary.never_ended.retain(|never| never.attempts > 0);
    }
    match tell(reporters, &RunEvent::Summary(summary)) {
        // It has been found, whether or not a report of it can be written.
        Err(stop) if status == Status::Failed => Err(CliError { status, ..stop }),
        told => told.map(|()| status),
    }
}

/// Tell that the tests cannot be built, if that is why the command ends. Where cargo has said why, `said`, the last line says what
/// follows from it.
fn not_built<T>(stop: CliError, said: bool, reporters: &mut [Box<dyn Reporter>]) -> Result<T, CliError> {
    if stop.status != Status::Failed {
        return Err(stop);
    }
    let none = "the tests could not be built, so none ran";
    let message = match stop.message {
        Some(why) if said => format!("{why}\n{none}"),
        Some(why) => why,
        None => none.to_owned(),
    };
    let exit_code = stop.status as u8;
    tell(reporters, &RunEvent::NotBuilt(NotBuilt { too_late: false, message: message.clone(), exit_code }))?;
    Err(CliError::new(stop.status, message))
}

/// Refuse options that say nothing together.
fn check(options: &Run) -> Result<(), CliError> {
    let systematic = options.bound().is_some();
    if systematic && options.strategies().len() > 1 {
        return Err(CliError::usage("--strategy systematic cannot be combined with other strategies"));
    }
    match (options.shard, options.runs) {
        (Some(_), _) if systematic => Err(CliError::usage(
            "--shard cannot be combined with --strategy systematic: schedules are not divided\n  divide the tests: \
             --partition",
        )),
        (Some(_), None) if !options.until_fail && options.time.is_none() && options.deadline.is_none() => {
            Err(CliError::usage(
                "--shard divides many attempts: say how many (--runs N) or for how long (--for, --deadline, \
                 --until-fail)\n  to divide the tests: --partition",
            ))
        }
        (Some(shard), Some(runs)) if shard.share(runs) == 0 => Err(CliError::usage(format!(
            "--shard {shard} has none of --runs {runs}, which is the number of attempts on all machines together"
        ))),
        _ => Ok(()),
    }
}

/// The target to build for: what cargo would take, or else the host.
pub(super) fn target(
    selection: &Selection,
    config: &Config,
    toolchain: &Toolchain,
) -> Result<String, CliError> {
    let configured = || config.get(&["build", "target"]).map(|(target, _)| target);
    let target = selection.target.clone().or_else(configured).unwrap_or_else(|| toolchain.host().to_owned());
    if target.starts_with("x86_64-") && target.contains("-linux-") {
        Ok(target)
    } else {
        Err(CliError::usage(format!("cannot record programs for `{target}`: only x86-64 Linux targets")))
    }
}

/// The level asked for, or system calls only if the compiler cannot build for it.
fn usable_level(
    level: Level,
    toolchain: &Toolchain,
    target: &str,
    project: &Project,
    warnings: &mut Vec<String>,
) -> Result<Level, CliError> {
    match toolchain.refusal(level, target, &level.build_dir(&project.target_dir)) {
        None => Ok(level),
        Some(Refusal::Place(stop)) => Err(stop),
        Some(Refusal::Passes(refusal)) => {
            warnings.push(format!(
                "{} cannot compile the clock into tests, so threads are preempted at system calls only \
                 (--preempt syscall): most races will not be found. Use another toolchain.\n  it says: {}",
                toolchain.version(),
                refusal.replace('\n', "\n  ")
            ));
            Ok(Level::Syscall)
        }
    }
}

fn schedule(options: &Run, deadline: Option<Instant>) -> Agenda {
    let limited = options.time.is_some() || deadline.is_some();
    let unlimited = options.until_fail || limited || options.bound().is_some();
    // Attempts under way may exceed the time of a campaign a little, but not this one.
    let left = deadline.map(|deadline| {
        let left = dispatch::within(deadline.saturating_duration_since(Instant::now()));
        Duration::from_secs(left.as_secs()).max(left.min(Duration::from_secs(1)))
    });
    Agenda {
        runs: options.runs.or(if unlimited { None } else { Some(1) }),
        time: options.time.into_iter().chain(left).min(),
        until_fail: options.until_fail || options.bound().is_some(),
        keep_going: options.no_fail_fast,
        explain: options.explain(),
        keep_original: options.keep_original,
        strategies: options.strategies(),
        bound: options.bound(),
        shard: options.shard,
        seed: options.recording.seed,
    }
}

fn reporters(options: &Run, shown: Shown, project: Option<&Project>) -> Vec<Box<dyn Reporter>> {
    let json = options.report() == Report::Json;
    let detail = match (options.quiet || json, options.verbose) {
        (true, 0) => Detail::Quiet,
        (false, 0) => Detail::Normal,
        _ => Detail::Verbose,
    };
    // Tests write over it.
    let progress = Progress::new(!options.quiet && shown != Shown::AtOnce);
    let runner = Runner::of_environment();
    let guard = runner.as_ref().map(|_| Guard::new());
    let display = Display::new(detail, shown, progress.bar(), guard);
    // The bar is gone before the summary is written: it would be drawn below that once more.
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(progress), Box::new(display)];
    if json {
        reporters.push(Box::new(Json::new(io::stdout())));
    }
    if let Some(path) = &options.junit {
        reporters.push(Box::new(JUnit::new(path)));
    }
    if let (Some(runner), Some(project)) = (runner, project) {
        let root = project.metadata.workspace_root.as_std_path();
        let sources = Sources::new(runner.workspace.as_deref(), root);
        reporters.push(Box::new(GitHub::new(runner, sources)));
    }
    reporters
}

/// A failed test is the news, whatever else went wrong; what went wrong on our side is never a success, nor is a test of which
/// nothing is known. What to think of tests that had no attempt is for the user to say.
fn status(summary: &Summary, never_ran: NeverRan) -> Status {
    let hangs = summary.never_ended.iter().any(|never| never.attempts > 0);
    let starved = summary.never_ran().next().is_some();
    match summary {
        Summary { failures: 1.., .. } => Status::Failed,
        _ if hangs => Status::Failed,
        Summary { errors: 1.., .. } => Status::Recorder,
        Summary { interrupted: true, .. } => Status::Interrupted,
        _ if starved && fails(never_ran) => Status::NeverRan,
        _ => Status::Success,
    }
}

/// Whether a run fails in which tests had no attempt. What CI starts is looked at by nobody unless it fails.
fn fails(never_ran: NeverRan) -> bool {
    match never_ran {
        NeverRan::Auto => env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false"),
        NeverRan::Pass | NeverRan::Warn => false,
        NeverRan::Fail => true,
    }
}
