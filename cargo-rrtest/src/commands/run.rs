//! `run`: build, find the tests, run the campaign, report.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use clap::ColorChoice;
use rrtest_engine::record::{Outsiders, Stdin};

use super::background_build::BackgroundBuild;
use super::cli::{MessageFormat, Run};
use crate::attempt::engine::Real;
use crate::attempt::events::{Reporter, RunEvent, Summary, tell};
use crate::attempt::record::Setting;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::build::cargo::{self, Build, Project, runner_of_user};
use crate::build::config::Config;
use crate::build::instrument::Level;
use crate::build::toolchain::{Refusal, Toolchain};
use crate::campaign::agenda::{Agenda, Other, Subject};
use crate::campaign::dispatch;
use crate::discover::find::{Discovered, Grouping};
use crate::discover::libtest::Filter;
use crate::report::display::{Detail, Display};
use crate::report::github::command::Guard;
use crate::report::github::runner::Runner;
use crate::report::github::{GitHub, Sources};
use crate::report::json::Json;
use crate::report::junit::JUnit;
use crate::report::progress::Progress;
use crate::store::traces::Store;

/// How long an attempt may run, unless the user has said it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Run the command. Cargo is told when to use colours, too.
pub(crate) fn run(options: &Run, color: Option<ColorChoice>) -> Result<Status, CliError> {
    if options.selection.asks_for_unstable_flags() {
        return cargo::list_unstable_flags();
    }
    let filter = Filter::parse(options.name.as_deref(), &options.args)?;
    if options.bound().is_some() && options.strategies().len() > 1 {
        return Err(CliError::usage("--strategy systematic cannot be combined with other strategies"));
    }
    let interrupt = Interrupt::install()?;
    let cores = cores()?;
    let slots = options.jobs.map_or(cores.len(), usize::from);
    // Who wants more side by side has tests that mostly wait: they share cores.
    let cores: Vec<usize> = cores.into_iter().cycle().take(slots).collect();
    let mut warnings = Vec::new();

    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let config = Config::load(&cwd, &options.selection.config);
    // Each takes a moment, and none needs the others.
    let (project, toolchain) = thread::scope(|scope| {
        scope.spawn(rrtest_engine::record::get_ready);
        let toolchain = scope.spawn(|| Toolchain::find(&cwd, &config));
        (Project::find(&options.selection), toolchain.join())
    });
    let (project, toolchain) = (project?, toolchain.map_err(|_| CliError::said(Status::Recorder))??);
    let target = target(options, &config, &toolchain)?;
    let level =
        usable_level(options.preempt.unwrap_or(Level::Sync), &toolchain, &target, &project, &mut warnings)?;
    if let Some(runner) = runner_of_user(&config, &target) {
        warnings.push(format!("the target runner {runner} is ignored: the recorder starts the tests"));
    }
    let mut reporters = reporters(options, &project);
    for warning in warnings {
        tell(&mut reporters, &RunEvent::Warning(warning))?;
    }
    let build_dir = level.build_dir(&project.target_dir);
    let secrets = options.recording.secrets();
    let build = Build {
        selection: &options.selection,
        target: &target,
        level,
        build_dir: &build_dir,
        config: &config,
        verbosity: if options.quiet { -1 } else { i16::from(options.verbose.saturating_sub(1)) },
        color,
        no_run: options.no_run,
        has_examples: project.has_examples(),
        in_background: false,
        secrets: &secrets,
    };
    let args: Vec<String> = options.name.iter().chain(&options.args).cloned().collect();
    let grouping = Grouping { together: options.together, args: &args };
    let memory_dir = Level::Memory.build_dir(&project.target_dir);
    let beside = BackgroundBuild {
        project: &project,
        toolchain: &toolchain,
        build: Build { level: Level::Memory, build_dir: &memory_dir, in_background: true, ..build.clone() },
        filter: &filter,
        grouping,
        ahead: OnceLock::new(),
    };
    let beside = Some(&beside).filter(|_| level == Level::Sync && options.more_levels() && !options.no_run);
    let hunt =
        Hunt { options, project: &project, toolchain: &toolchain, build: &build, filter: &filter, grouping };
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
    project: &'a Project,
    toolchain: &'a Toolchain,
    build: &'a Build<'a>,
    filter: &'a Filter,
    grouping: Grouping<'a>,
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
        let built = built?;
        if built.without_c {
            let warning =
                "C or C++ code does not build with the clock compiled in; threads are not preempted there";
            tell(reporters, &RunEvent::Warning(warning.to_owned()))?;
        }
        if options.no_run {
            return Ok(Status::Success);
        }
        let Discovered { tests, ignored, warnings } = built.tests(project, self.filter, self.grouping)?;
        warnings.into_iter().try_for_each(|warning| tell(reporters, &RunEvent::Warning(warning)))?;
        if tests.is_empty() {
            return Err(CliError::new(
                Status::NoTests,
                "no test matched\n  `cargo test -- --list` lists all tests",
            ));
        }

        let store = match &options.recording.trace_dir {
            Some(dir) => Store::at(dir)?,
            None => Store::of(project, &options.selection),
        };
        let schedule = schedule(options);
        let strategies = schedule.strategies.clone();
        let setting = Setting {
            engine: &Real,
            store: &store,
            keep: options.recording.keep,
            timeout: options.timeout.unwrap_or(TIMEOUT),
            judges: options.timeout.is_none(),
            stdin: Stdin::Null,
            outsiders: Outsiders::StayAway,
            listener: None,
            strategies: &strategies,
            time: options.recording.time,
            processor: options.recording.cpu,
            surprises: options.recording.surprises,
            rustc: self.toolchain.version(),
            known: Mutex::default(),
            kept: Mutex::default(),
            end: None,
            in_use: Some(dispatch::in_use()),
            judging: Mutex::default(),
        };
        let make = beside.map(|beside| |stop: &AtomicBool| beside.tests(stop));
        let other = beside.zip(make.as_ref()).map(|(beside, make)| {
            (beside.build.level, beside.soon().map_or(Other::Coming(make), Other::Ready))
        });
        let subject = Subject { tests, ignored, level: self.build.level, other };
        let summary = dispatch::run(subject, schedule, &setting, cores, interrupt, reporters)?;
        let status = status(&summary);
        match tell(reporters, &RunEvent::Summary(summary)) {
            // It has been found, whether or not a report of it can be written.
            Err(stop) if status == Status::Failed => Err(CliError { status, ..stop }),
            told => told.map(|()| status),
        }
    }
}

/// The target to build for: what cargo would take, or else the host.
fn target(options: &Run, config: &Config, toolchain: &Toolchain) -> Result<String, CliError> {
    let configured = || config.get(&["build", "target"]).map(|(target, _)| target);
    let target =
        options.selection.target.clone().or_else(configured).unwrap_or_else(|| toolchain.host().to_owned());
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

fn schedule(options: &Run) -> Agenda {
    let unlimited = options.until_fail || options.time.is_some() || options.bound().is_some();
    Agenda {
        runs: options.runs.or(if unlimited { None } else { Some(1) }),
        time: options.time,
        until_fail: options.until_fail || options.bound().is_some(),
        keep_going: options.keep_going,
        strategies: options.strategies(),
        bound: options.bound(),
        seed: options.recording.seed,
    }
}

fn reporters(options: &Run, project: &Project) -> Vec<Box<dyn Reporter>> {
    let json = options.message_format == MessageFormat::Json;
    let detail = match (options.quiet || json, options.verbose) {
        (true, 0) => Detail::Quiet,
        (false, 0) => Detail::Normal,
        _ => Detail::Verbose,
    };
    let progress = Progress::new(!options.quiet);
    let runner = Runner::of_environment();
    let guard = runner.as_ref().map(|_| Guard::new());
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(Display::new(detail, progress.bar(), guard))];
    reporters.push(Box::new(progress));
    if json {
        reporters.push(Box::new(Json::new(std::io::stdout())));
    }
    if let Some(path) = &options.junit {
        reporters.push(Box::new(JUnit::new(path)));
    }
    if let Some(runner) = runner.filter(|_| !json) {
        let sources =
            Sources::new(runner.workspace.as_deref(), project.metadata.workspace_root.as_std_path());
        reporters.push(Box::new(GitHub::new(runner, sources)));
    }
    reporters
}

/// A failed test is the news, whatever else went wrong; what went wrong on our side is never a success, nor is a test of which
/// nothing is known.
fn status(summary: &Summary) -> Status {
    match summary {
        Summary { failures: 1.., .. } => Status::Failed,
        Summary { never_ended, .. } if !never_ended.is_empty() => Status::Failed,
        Summary { errors: 1.., .. } => Status::Recorder,
        Summary { interrupted: true, .. } => Status::Interrupted,
        _ => Status::Success,
    }
}
