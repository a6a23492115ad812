//! `env`: another front end, such as nextest, builds the tests with the clock in them and starts each through us.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, raise};
use rrtest_engine::ending::Ending;
use rrtest_engine::program::Program;
use rrtest_engine::record::{Outsiders, Stdin};

use super::cli::{self, Cli, Env};
use super::options::configured;
use super::options::run::Run;
use super::prune;
use super::run::target;
use super::single::{self, Single};
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{self, CAUTION};
use crate::base::words::shell_word;
use crate::build::cargo::{Project, runner_of_user};
use crate::build::config::Config;
use crate::build::front_end::{Order, variables};
use crate::build::instrument::Level;
use crate::build::selection::Selection;
use crate::build::toolchain::{Refusal as Refused, Toolchain};
use crate::discover::secrets;
use crate::discover::test::{Rules, Test};
use crate::settings::layers::{Refusal, Settings};
use crate::store::traces::Store;

/// For how long a trace is verified after the front end has ended a test that takes too long. nextest kills us 10 s after that,
/// unless told otherwise.
const VERIFIED_FOR: Duration = Duration::from_secs(5);

/// Traces with which a new one may share contents. More are not looked through.
const BESIDE: usize = 8;

/// Print the environment as shell commands, or run a command in it: then this returns only on failure.
pub(crate) fn env(options: &Env) -> Result<Status, CliError> {
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    if Order::is_there() {
        return Err(CliError::usage("this is the environment of `cargo rrtest env` already"));
    }
    let mut selection = options.place.selection();
    selection.target.clone_from(&options.target);
    let config = Config::load(&cwd, &[]);
    let project = Project::find(&selection)?;
    let toolchain = Toolchain::find(&cwd, &config)?;
    let target = target(&selection, &config, &toolchain)?;
    let build_dir = options.preempt.build_dir(&project.target_dir);
    match toolchain.refusal(options.preempt, &target, &build_dir) {
        None => {}
        Some(Refused::Place(stop)) => return Err(stop),
        Some(Refused::Passes(why)) => {
            return Err(CliError::usage(format!(
                "{} cannot compile the clock into tests: {why}\n  use another toolchain, or --preempt syscall",
                toolchain.version()
            )));
        }
    }
    let mut environment: Vec<_> = env::vars_os().collect();
    let secrets = settings()?.0.recording.secrets().take_out(&mut environment);
    if let Some(warning) = secrets::warning(&secrets) {
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
    }
    if let Some(runner) = runner_of_user(&config, &target) {
        let warning = format!("the target runner {runner} is ignored: the recorder starts the tests");
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
    }
    let store = match &options.place.trace_dir {
        Some(dir) => Store::at(dir)?,
        None => Store::of(&project, &selection),
    };
    let variables = variables(&target, options.preempt, &build_dir, &store.dir, &config)?;
    if let Some((program, args)) = options.command.split_first() {
        let error = Command::new(program).args(args).envs(variables).exec();
        return Err(CliError::os(format!("cannot run `{}`", program.display()), &error));
    }
    let lines: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", shell_word(&value.to_string_lossy())))
        .collect();
    terminal::print(&lines.concat()).map(|()| Status::Success)
}

/// Start a test binary in place of cargo's or nextest's own call: record a test, and pass everything else on as it is.
/// `args` is the binary and what follows it.
pub(crate) fn start(args: &[OsString]) -> Result<u8, CliError> {
    let order = Order::from_env()?;
    let (binary, args) = args.split_first().ok_or_else(|| CliError::usage("no test binary given"))?;
    let level = Level::from_str(&order.level, false)
        .map_err(|_| CliError::usage(format!("the environment names the unknown level `{}`", order.level)))?;
    let mut environment = order.without_ours();
    if args.iter().any(|arg| arg == "--list") {
        let error = Command::new(binary).args(args).env_clear().envs(environment).exec();
        return Err(CliError::os(format!("cannot run `{}`", binary.display()), &error));
    }
    let interrupt = Interrupt::install_beside_program()?;
    let (options, settings) = settings()?;
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    // Which those are, `env` has said once for all tests.
    let _secrets = options.recording.secrets().take_out(&mut environment);
    let mut test = test(Program { path: cwd.join(binary), args: args.to_vec(), env: environment, cwd });
    settings.overrides.apply(&mut test);
    let store = Store::find(options.recording.trace_dir.as_deref(), &Selection::default())?;
    let kept = store.entries().unwrap_or_default();
    let single = Single {
        test,
        level,
        takes_apart: false,
        recording: &options.recording,
        seed: options.recording.only_seed(&options.strategies()),
        strategies: options.strategies(),
        timeout: options.timeout,
        stdin: Stdin::Null,
        outsiders: Outsiders::StayAway,
        stdout_is_the_programs: true,
        verified_for: VERIFIED_FOR,
        beside: kept.into_iter().map(|entry| entry.path).take(BESIDE).collect(),
    };
    let attempt = single.record(&store, &interrupt)?;
    prune::prune(&store, options.recording.trace_limit, true);
    // What the program wrote is complete before the front end sees the end.
    let _flushed = io::stdout().flush();
    if let Some(Ending::Killed { signal, .. }) = &attempt.ending {
        die_of(*signal);
    }
    Ok(if interrupt.by_user() { Status::Interrupted as u8 } else { single::status(&attempt) })
}

/// End by the signal that has ended the test, so that the front end says so. Returns if the signal does not end us.
fn die_of(signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    // The core would be ours, not the test's. If the limit or the action cannot be set, an exit code says it.
    let set = setrlimit(Resource::RLIMIT_CORE, 0, 0)
        // SAFETY: the default action is no handler of ours.
        .and_then(|()| unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) });
    if set.is_ok() {
        let _raised = raise(signal);
    }
}

/// The settings that the project's files and the environment make for tests.
fn settings() -> Result<(Run, Settings), CliError> {
    match configured::read(vec!["run".into()]) {
        Ok(Cli { command: Some(cli::Command::Run(options)), settings, .. }) => Ok((*options, settings)),
        Ok(Cli { run, settings, .. }) => Ok((run, settings)),
        Err(Refusal::Setting(stop)) => Err(stop),
        Err(Refusal::CommandLine(error)) => Err(CliError::usage(error.to_string())),
    }
}

/// The test that a binary is called for, by the names that nextest or cargo give.
fn test(program: Program) -> Test {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let package = variable("CARGO_PKG_NAME").unwrap_or_default();
    let binary = variable("NEXTEST_BINARY_ID").unwrap_or_else(|| {
        let target = variable("CARGO_CRATE_NAME").unwrap_or_else(|| stem(&program.path));
        if package.is_empty() { target } else { format!("{package}::{target}") }
    });
    let (kind, target) = kind(&binary, &package);
    Test {
        package,
        name: exact(&program.args),
        harness: true,
        mates: Arc::default(),
        kind,
        target,
        binary,
        ignored: program.args.iter().any(|arg| arg == "--ignored"),
        rules: Rules::default(),
        source: Path::new("").into(),
        program,
    }
}

/// The kind and the name of the target that nextest calls so: `p` is a library, `p::it` a test, `p::bin/x` another kind.
fn kind(binary: &str, package: &str) -> (String, String) {
    match binary.split_once("::").map(|(_, rest)| rest.split_once('/').unwrap_or(("test", rest))) {
        Some((kind, name)) => (kind.to_owned(), name.to_owned()),
        None => ("lib".to_owned(), package.replace('-', "_")),
    }
}

/// The one test that the arguments of a test binary name.
fn exact(args: &[OsString]) -> Option<String> {
    let is_name = |arg: &&OsString| !arg.as_encoded_bytes().starts_with(b"-");
    let mut names = args.iter().filter(is_name);
    let name = names.next().filter(|_| args.iter().any(|arg| arg == "--exact"))?;
    names.next().is_none().then(|| name.to_string_lossy().into_owned())
}

/// The name of a test binary without the hash that cargo adds.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or(OsStr::new("test")).to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(stem, _)| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exact_name_is_the_test() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(exact(&args(&["--exact", "a::b", "--nocapture"])).as_deref(), Some("a::b"));
        assert_eq!(exact(&args(&["--exact", "a", "b"])), None);
        assert_eq!(exact(&args(&["a"])), None);
        assert_eq!(exact(&args(&["--nocapture"])), None);
    }

    #[test]
    fn nextests_names_tell_the_target() {
        let kinds = ["p-q", "p-q::it", "p-q::bin/x"].map(|binary| kind(binary, "p-q"));
        let names = [("lib", "p_q"), ("test", "it"), ("bin", "x")];
        assert_eq!(kinds, names.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
    }

    #[test]
    fn a_binary_has_the_name_of_its_target() {
        let stems = ["/t/it-0123abcd", "/t/two-words-0123abcd", "/t/plain"].map(|path| stem(Path::new(path)));
        assert_eq!(stems, ["it", "two-words", "plain"]);
    }
}
