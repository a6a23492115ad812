//! `verify`: whether an explained failure still comes about in the code as it is now.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use rrtest_engine::trace::Trace;
use serde_json::Value;

use super::cli::Command;
use super::options::configured;
use super::options::traces::{OneTrace, Verify};
use super::{given, run};
use crate::base::exit::{CliError, Status};
use crate::base::words::visible;
use crate::ending::explanation::Explanation;
use crate::settings::layers::Refusal;
use crate::store::source::Given;
use crate::store::traces::Store;

/// Run the command: build the test of the trace as it is now, and try to make it fail again.
pub(crate) fn run(options: &Verify) -> Result<Status, CliError> {
    let given = match newest_explained(&options.trace)? {
        Some(given) => given,
        None => given::trace(&options.trace)?,
    };
    let trace = given::read(given.path())?;
    let old = explanation(&trace, &given.label)?;
    let args = arguments(&trace, &old, options)?;
    let cli = match configured::read(args) {
        Ok(cli) => cli,
        Err(Refusal::CommandLine(error)) => error.exit(),
        Err(Refusal::Setting(stop)) => return Err(stop),
    };
    let Some(Command::Run(mut run)) = cli.command else {
        return Err(CliError::usage("the trace's test cannot be named on a command line"));
    };
    run.verify = Some(Arc::new(old));
    run::run(&run, &cli.settings, cli.color)
}

/// Returns the newest trace that says what its failure needs, if the user has named none: what a `verify` has kept that
/// failed again does not.
pub(super) fn newest_explained(options: &OneTrace) -> Result<Option<Given>, CliError> {
    let OneTrace { trace: None, place, .. } = options else { return Ok(None) };
    let entries = Store::find(place.trace_dir.as_deref(), &place.selection())?.entries()?;
    let explained = |path: &Path| Trace::open(path).is_ok_and(|trace| explanation(&trace, "").is_ok());
    Ok(entries.into_iter().map(|entry| entry.path).find(|path| explained(path)).map(Given::file))
}

/// Returns what the trace says of its failure.
pub(super) fn explanation(trace: &Trace, name: &str) -> Result<Explanation, CliError> {
    Explanation::of(trace.info()).ok_or_else(|| {
        CliError::usage(format!(
            "{name} does not say what its failure needs: nobody has found that out, it fails under every schedule, or another \
             version of rrtest has written it\n  record the failure again: `cargo rrtest --until-fail`, with more time for \
             that by --explain 20s"
        ))
    })
}

/// The arguments of a run of the trace's test, recorded as the trace was.
fn arguments(trace: &Trace, old: &Explanation, options: &Verify) -> Result<Vec<OsString>, CliError> {
    let info = trace.info();
    let fact = |key: &str| info.get(key).and_then(Value::as_str);
    let (Some(package), Some(binary), Some(test)) = (fact("package"), fact("binary"), fact("test")) else {
        return Err(CliError::usage("only traces of a single test can be verified"));
    };
    let mut args = vec!["run".into()];
    args.extend(only(package, binary, test)?);
    let time = humantime::format_duration(options.time).to_string();
    let level = &old.preempt;
    for (option, value) in [
        ("--preempt", Some(level.as_str())),
        ("--for", Some(&time)),
        ("--time", fact("time")),
        ("--cpu", fact("cpu")),
        ("--explain", Some("never")),
    ] {
        args.extend(value.map(|value| OsString::from(format!("{option}={value}"))));
    }
    args.push("--until-fail".into());
    args.extend(options.trace.place.options());
    args.extend([test, "--", "--exact"].map(OsString::from));
    Ok(args)
}

/// The options that choose a test's binary. The names are a trace's, which may be a stranger's: nothing of it becomes another
/// option.
fn only(package: &str, binary: &str, test: &str) -> Result<[OsString; 2], CliError> {
    let target = binary.split_once("::").map(|(_, target)| target);
    let target = match target.map(|target| target.split_once('/').unwrap_or(("test", target))) {
        None => Some("--lib".to_owned()),
        Some((kind @ ("test" | "bin" | "example" | "bench"), name)) => Some(format!("--{kind}={name}")),
        Some(_) => None,
    };
    // cargo gets the names as well, and what begins so may be an option to it.
    let is_option = [package, test, binary.rsplit(['/', ':']).next().unwrap_or_default()];
    let is_option = is_option.iter().any(|name| name.starts_with('-'));
    let target = target.filter(|_| !is_option).ok_or_else(|| {
        let name = visible(&format!("{binary} {test}"));
        CliError::usage(format!("the trace's test, {name}, cannot be named on a command line"))
    })?;
    Ok([format!("--package={package}").into(), target.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_chosen_and_nothing_else() {
        let args =
            |binary, test| only("p", binary, test).map(|args| args.map(|it| it.into_string().unwrap()));
        assert_eq!(args("p", "t").unwrap(), ["--package=p", "--lib"]);
        assert_eq!(args("p::it", "t").unwrap(), ["--package=p", "--test=it"]);
        assert_eq!(args("p::bin/b", "a::t").unwrap(), ["--package=p", "--bin=b"]);
        for (binary, test) in [
            ("p::config/a.b='c'", "t"),
            ("p::manifest-path/x", "t"),
            ("p::--config=a.b='c'", "t"),
            ("p::bin/--config=a", "t"),
            ("p", "--config=a"),
        ] {
            assert!(args(binary, test).is_err(), "{binary} {test}");
        }
    }
}
