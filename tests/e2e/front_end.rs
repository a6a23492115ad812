//! `env`: others build the tests with the clock in them and start each through us, as nextest does.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rrtest_engine::trace::Trace;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    cargo_test_records_what_it_runs,
    tests_are_started_one_by_one_as_nextest_does,
    what_is_ended_for_taking_too_long_leaves_a_verified_trace,
    the_environment_is_printed_for_a_shell,
];

/// The variable that has the command that starts test binaries.
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

const SOURCE: &str = r#"
#[test]
fn passes() {
    for name in ["RUSTC_WRAPPER", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RRTEST_TRACE_DIR", "MY_TOKEN"] {
        assert!(std::env::var_os(name).is_none(), "{name}");
    }
    assert!(std::env::vars().all(|(name, _)| !name.ends_with("_RUNNER") && !name.starts_with("__RRTEST")));
}
#[test]
fn fails() {
    println!("what it says");
    panic!("it fails")
}
#[test]
fn aborts() {
    std::process::abort()
}
#[test]
#[ignore]
fn waits() {
    eprintln!("it waits");
    loop {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
"#;

/// `cargo rrtest env -- COMMAND` in a project.
fn in_environment(world: &Harness, project: &Project, command: &[&str]) -> Command {
    let mut rrtest = project.rrtest(world, &["env", "--"]);
    rrtest.args(command).env("MY_TOKEN", "secret");
    rrtest
}

/// Builds the tests in the environment. Returns the binary of the integration tests.
fn built(world: &Harness, project: &Project) -> PathBuf {
    let command = ["cargo", "test", "--no-run", "--message-format=json"];
    let output = in_environment(world, project, &command).output().expect("a build");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = messages
        .filter(|message| message["target"]["name"] == "it")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executable.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A call of the binary as nextest makes it, by the runner of the environment.
fn started(world: &Harness, project: &Project, binary: &Path, args: &[&str]) -> Command {
    let line = format!("exec ${RUNNER} \"$@\"");
    let mut command = in_environment(world, project, &["sh", "-c", &line, "sh"]);
    command.arg(binary).args(args).env("NEXTEST_BINARY_ID", "p::it").env("NEXTEST", "1");
    command
}

/// The traces of tests by the parts of their names.
fn traces_of(project: &Project, part: &str) -> Vec<PathBuf> {
    let has_part = |path: &PathBuf| path.to_string_lossy().contains(part);
    project.traces().into_iter().filter(has_part).collect()
}

fn cargo_test_records_what_it_runs(world: &Harness) {
    let project = Project::of_test(world, SOURCE);
    let command = ["cargo", "test", "--test", "it", "--", "--skip", "aborts"];
    let run = Run::of(&mut in_environment(world, &project, &command)).expect(101);
    let said = run.says(&["kept from the tests", "MY_TOKEN", "(verified)"]).text();
    assert!(said.contains("1 passed; 1 failed"), "{said}");
    let [trace] = &project.traces()[..] else { panic!("not one trace") };
    let replayed =
        Run::of(&mut project.rrtest(world, &["replay", trace.to_str().expect("a path")])).expect(0);
    let replayed = replayed.says(&["as recorded"]).text();
    assert!(replayed.contains("it fails"), "{replayed}");
}

fn tests_are_started_one_by_one_as_nextest_does(world: &Harness) {
    let project = Project::of_test(world, SOURCE);
    let binary = built(world, &project);
    let list = started(world, &project, &binary, &["--list", "--format", "terse"]).output().expect("a list");
    let natively = Command::new(&binary).args(["--list", "--format", "terse"]).output().expect("a list");
    assert_eq!((list.stdout, list.status), (natively.stdout, natively.status));

    let start = |name: &str| started(world, &project, &binary, &["--exact", name, "--nocapture"]);
    let passed = Run::of(&mut start("passes")).expect(0).text();
    assert!(passed.contains("1 passed"), "{passed}");
    assert!(project.traces().is_empty());
    let failed = start("fails").output().expect("a run");
    assert_eq!(failed.status.code(), Some(101));
    // Standard output is the test's alone.
    let [stdout, stderr] = [&failed.stdout, &failed.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(stdout.contains("what it says") && !stdout.contains("trace"), "{stdout}");
    assert!(stderr.contains("it fails") && stderr.contains("p-it-fails-"), "{stderr}");
    assert_eq!(traces_of(&project, "p-it-fails-").len(), 1);

    use std::os::unix::process::ExitStatusExt;
    let aborted = start("aborts").output().expect("a run");
    assert_eq!(aborted.status.signal(), Some(Signal::SIGABRT as i32), "{aborted:?}");
    assert_eq!(traces_of(&project, "p-it-aborts-").len(), 1);
}

fn what_is_ended_for_taking_too_long_leaves_a_verified_trace(world: &Harness) {
    let project = Project::of_test(world, SOURCE);
    let binary = built(world, &project);
    let args = ["--exact", "waits", "--nocapture", "--ignored"];
    let mut started = started(world, &project, &binary, &args);
    let mut child = started.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("it waits") {
        assert!(stderr.read_line(&mut said).expect("text") > 0, "{said}");
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    stderr.read_to_string(&mut said).expect("text");
    assert!(!child.wait().expect("an end").success());
    assert!(said.contains("the trace holds what was recorded so far"), "{said}");
    let [trace] = &traces_of(&project, "p-it-waits-")[..] else { panic!("not one trace: {said}") };
    assert!(Trace::open(trace).expect("a trace").verified(), "{said}");
}

fn the_environment_is_printed_for_a_shell(world: &Harness) {
    let project = Project::of_test(world, SOURCE);
    let printed = Run::of(&mut project.rrtest(world, &["env"])).expect(0).text();
    for name in [RUNNER, "RUSTC_WRAPPER", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RRTEST_TRACE_DIR"] {
        assert!(printed.contains(&format!("export {name}=")), "{name} is not in\n{printed}");
    }
    let own = world.tool.path.to_str().expect("a path");
    let again = Run::of(&mut in_environment(world, &project, &[own, "rrtest", "env"])).expect(2);
    let _ = again.says(&["this is the environment of `cargo rrtest env` already"]);
}
