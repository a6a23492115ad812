//! `exec`: record any program, once or until it fails.

mod campaign;
pub(super) mod options;

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::program::Program;
use rrtest_engine::record::{Outsiders, Stdin};

use self::options::Exec;
use super::options::values::MessageFormat;
use super::prune;
use super::single::{self, Single};
use crate::attempt::events::{Attempt, Reporter, RunEvent, Summary};
use crate::attempt::seed::Seed;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::CAUTION;
use crate::build::instrument::Level;
use crate::build::selection::Selection;
use crate::discover::secrets;
use crate::discover::test::{Rules, Test};
use crate::report::json::Json;
use crate::store::traces::Store;

/// Record the program. A single run ends as the program ends: its exit code, 128 and the signal's number, or 101 if it
/// did not end by itself. Several end as those of a test do.
pub(crate) fn run(options: &Exec) -> Result<u8, CliError> {
    let program = program(options)?;
    let name = program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let test = Test {
        package: String::new(),
        binary: "exec".to_owned(),
        name: Some(name),
        program,
        harness: false,
        mates: Arc::default(),
        kind: String::new(),
        target: String::new(),
        ignored: false,
        rules: Rules::default(),
        source: Path::new("").into(),
    };
    let store = Store::find(options.recording.trace_dir.as_deref(), &Selection::default())?;
    if options.repeats() { campaign::run(options, test, &store) } else { once(options, test, &store) }
}

/// Record one run.
fn once(options: &Exec, test: Test, store: &Store) -> Result<u8, CliError> {
    let interrupt = Interrupt::install_beside_program()?;
    let seed = options.recording.only_seed(&options.strategies());
    let json = options.message_format == MessageFormat::Json;
    let single = Single {
        test,
        level: options.preempt.unwrap_or(usual_level(options, seed)),
        takes_apart: true,
        recording: &options.recording,
        seed,
        strategies: options.strategies(),
        timeout: options.timeout,
        stdin: Stdin::Inherit,
        // Whoever runs it may be about to connect to it.
        outsiders: Outsiders::MayCome,
        stdout_is_the_programs: !json,
        // Whoever ends it does not want to wait.
        verified_for: Duration::ZERO,
        beside: Vec::new(),
    };
    let attempt = single.record(store, &interrupt)?;
    prune::prune(store, options.recording.trace_limit, json);
    let status = if interrupt.by_user() { Status::Interrupted as u8 } else { single::status(&attempt) };
    if json {
        report(attempt, status)?;
    }
    Ok(status)
}

/// Where threads are preempted in a run with this seed, if nobody has said it: both levels have their turn.
fn usual_level(options: &Exec, seed: Seed) -> Level {
    match options.is_chaos() {
        false => Level::Syscall,
        true if seed.is_odd() => Level::Memory,
        true => Level::Sync,
    }
}

fn program(options: &Exec) -> Result<Program, CliError> {
    let Some((name, args)) = options.program.split_first() else {
        return Err(CliError::usage("no program to record"));
    };
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let path = find(name, &cwd, env::var_os("PATH").as_deref())
        .ok_or_else(|| CliError::usage(format!("cannot find the program `{}`", name.display())))?;
    let mut env = env::vars_os().collect();
    let taken = options.recording.secrets().take_out(&mut env);
    if let Some(warning) = secrets::warning(&taken) {
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
    }
    Ok(Program { path, args: args.to_vec(), env, cwd })
}

/// The executable file that a shell would take. A path stays as it was typed: scripts see it as their `$0`.
fn find(name: &OsStr, cwd: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if name.as_encoded_bytes().contains(&b'/') {
        return is_program(&cwd.join(name)).then(|| name.into());
    }
    env::split_paths(search?).map(|dir| cwd.join(dir).join(name)).find(is_program)
}

/// The lines of JSON, as of a run with one test.
fn report(attempt: Attempt, exit_code: u8) -> Result<(), CliError> {
    let mut summary = Summary::of_none(1, false);
    summary.count(&attempt);
    summary.wall = attempt.wall;
    summary.exit_code = exit_code;
    let mut json = Json::new(io::stdout());
    json.report(&RunEvent::Attempt(Box::new(attempt)))?;
    json.report(&RunEvent::Summary(summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("tool");
        std::fs::write(&file, "").expect("a file");
        let search = Some(dir.path().as_os_str());
        assert_eq!(find(OsStr::new("tool"), Path::new("/"), search), None, "not executable");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("permissions");
        assert_eq!(find(OsStr::new("tool"), Path::new("/"), search), Some(file.clone()));
        assert_eq!(find(OsStr::new("./tool"), dir.path(), None), Some("./tool".into()));
        assert_eq!(find(OsStr::new("tool"), dir.path(), None), None, "a bare name is looked up in PATH");
    }
}
