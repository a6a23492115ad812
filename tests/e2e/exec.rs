//! `exec` records any program, and is to its caller what the program would be.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rrtest_tests::Harness;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::session::{Session, living};
use rrtest_tests::terminal::{CTRL_C, Terminal};
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    standard_input_is_the_callers,
    output_appears_as_it_is_written,
    the_exit_status_is_passed_on,
    a_time_limit_only_if_told,
    programs_are_found,
    a_reader_that_leaves_ends_the_program,
    a_full_disk_is_the_programs_business,
    reports_as_json,
    fair_unless_told_otherwise,
    keeps_what_it_is_told_to,
    reads_the_terminal,
    ctrl_c_is_the_programs,
    ctrl_c_twice_ends_the_recorder,
    signals_are_not_kept_back_until_a_wait,
    a_termination_signal_ends_the_recorder,
    signals_to_the_group_are_for_the_program,
];

/// `cargo rrtest exec` in this directory, with traces kept in `traces`. A minute is more than any of these programs
/// needs.
fn exec(world: &Harness, dir: &Path, options: &[&str], program: &[&str]) -> Command {
    without_limit(world, dir, &[&["--timeout", "1m"], options].concat(), program)
}

fn without_limit(world: &Harness, dir: &Path, options: &[&str], program: &[&str]) -> Command {
    let mut command = world.tool.cargo(dir);
    command.args(["exec", "--trace-dir", "traces"]).args(options).arg("--").args(program);
    command
}

/// Start it between pipes.
fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("cargo-rrtest")
}

fn standard_input_is_the_callers(world: &Harness) {
    let dir = world.dir();
    let mut child = piped(exec(world, dir.path(), &["--keep", "always"], &["cat"]));
    child.stdin.take().expect("a pipe").write_all(b"one\ntwo\n").expect("a reader");
    let run = Run::rest(child, "exec -- cat".into()).expect(0).says(&["(verified)"]);
    assert_eq!(run.text(), "one\ntwo\n", "{run}");
    // What was read is in the trace.
    let trace = rrtest_tests::traces(&dir.path().join("traces")).pop().expect("a trace");
    let replay = Run::of(&mut elsewhere(world, &trace)).expect(0);
    assert_eq!(replay.text(), "one\ntwo\n", "{replay}");
}

fn output_appears_as_it_is_written(world: &Harness) {
    let dir = world.dir();
    let script = "printf 'name? '; printf 'asked ' >&2; read name; echo hello $name";
    let mut child = piped(exec(world, dir.path(), &[], &["sh", "-c", script]));
    let mut question = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut question).expect("the question");
    child.stderr.as_mut().expect("a pipe").read_exact(&mut question).expect("the remark");
    child.stdin.take().expect("a pipe").write_all(b"you\n").expect("a reader");
    let run = Run::rest(child, "exec -- sh".into()).expect(0);
    assert_eq!(run.text(), "hello you\n", "{run}");
}

fn the_exit_status_is_passed_on(world: &Harness) {
    let dir = world.dir();
    let _failed = Run::of(&mut exec(world, dir.path(), &[], &["sh", "-c", "exit 7"])).expect(7);
    let killed = Run::of(&mut exec(world, dir.path(), &[], &["sh", "-c", "kill -TERM $$"]));
    let _killed = killed.expect(128 + 15).says(&["SIGTERM", "(verified)"]);
    let _passed = Run::of(&mut exec(world, dir.path(), &[], &["true"])).expect(0);
}

fn a_time_limit_only_if_told(world: &Harness) {
    let dir = world.dir();
    let run = |options: &[&str], duration| {
        Run::of(&mut without_limit(world, dir.path(), options, &["sleep", duration]))
    };
    let hung = run(&["--timeout", "5m"], "1000").expect(101);
    let _hung = hung.says(&["nothing can happen before the time limit", "(verified)"]);
    let _ends = run(&[], "0.1").expect(0);
}

fn programs_are_found(world: &Harness) {
    let dir = world.dir();
    let script = |name: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, "#!/bin/sh\necho $0 $1\n").expect("a file");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("permissions");
    };
    script("here", 0o755);
    script("in path/tool", 0o755);
    script("no program", 0o644);
    let run = |program: &[&str]| {
        let mut command = exec(world, dir.path(), &[], program);
        Run::of(command.env("PATH", format!("{}:/usr/bin:/bin", dir.path().join("in path").display())))
    };
    assert_eq!(run(&["./here", "one"]).expect(0).text(), "./here one\n");
    assert_eq!(
        run(&["tool", "--bogus"]).expect(0).text(),
        format!("{} --bogus\n", dir.path().join("in path/tool").display())
    );
    for absent in ["here", "./no program", "./absent", "absent"] {
        let _run = run(&[absent]).expect(2).says(&["error", absent]);
    }
}

fn a_reader_that_leaves_ends_the_program(world: &Harness) {
    let dir = world.dir();
    let mut child = piped(exec(world, dir.path(), &[], &["sh", "-c", "while :; do echo again; done"]));
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "again\n");
    let _run = Run::rest(child, "exec -- sh".into()).expect(128 + 13).says(&["SIGPIPE", "(verified)"]);
    // A program that ignores the signal sees the error.
    let script = "trap '' PIPE; read go; echo again 2>/dev/null || { echo gone >&2; exit 3; }";
    let mut child = piped(exec(world, dir.path(), &[], &["sh", "-c", script]));
    drop(child.stdout.take());
    child.stdin.take().expect("a pipe").write_all(b"go\n").expect("a reader");
    let _run = Run::rest(child, "exec -- sh".into()).expect(3).says(&["gone", "(verified)"]);
}

fn a_full_disk_is_the_programs_business(world: &Harness) {
    let dir = world.dir();
    let mut command = exec(world, dir.path(), &[], &["sh", "-c", "echo much || exit 5"]);
    let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let child = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn();
    let _run = Run::rest(child.expect("cargo-rrtest"), "exec -- sh".into()).expect(5).says(&["(verified)"]);
}

fn reports_as_json(world: &Harness) {
    let dir = world.dir();
    let script = "echo to stdout; echo to stderr >&2; exit 3";
    let run = Run::of(&mut exec(world, dir.path(), &["--message-format", "json"], &["sh", "-c", script]));
    let run = run.expect(3).says(&["to stdout\n", "to stderr\n"]);
    let report = Report::of(&run);
    let [attempt] = &report.attempts[..] else { panic!("one attempt: {run}") };
    assert_eq!((attempt.text("test"), attempt.text("outcome")), ("sh", "failed"));
    assert_eq!(attempt.number("exit_code"), 3);
    assert!(attempt.trace().is_some(), "{attempt:?}");
    assert_eq!(report.summary["failed"], serde_json::json!(["exec sh"]));
}

fn fair_unless_told_otherwise(world: &Harness) {
    let dir = world.dir();
    let attempt = |options: &[&str]| -> Attempt {
        let mut options = options.to_vec();
        options.extend(["--message-format", "json"]);
        let run = Run::of(&mut exec(world, dir.path(), &options, &["true"])).expect(0);
        Report::of(&run).attempts.remove(0)
    };
    assert_eq!(attempt(&[]).text("strategy"), "fair");
    let pct = attempt(&["--strategy", "pct"]);
    assert_eq!(pct.text("strategy"), "pct");
    let again = attempt(&["--seed", pct.text("seed")]);
    assert_eq!((again.text("strategy"), again.text("seed")), ("pct", pct.text("seed")));
    assert_eq!(attempt(&["--no-chaos", "--seed", pct.text("seed")]).text("strategy"), "fair");
    // A portfolio begins with one of its strategies for chaos.
    assert_ne!(attempt(&["--chaos"]).text("strategy"), "fair");
}

fn keeps_what_it_is_told_to(world: &Harness) {
    let dir = world.dir();
    let kept = || rrtest_tests::traces(&dir.path().join("traces")).len();
    let _passed = Run::of(&mut exec(world, dir.path(), &[], &["true"])).expect(0);
    assert_eq!(kept(), 0);
    let _failed = Run::of(&mut exec(world, dir.path(), &["--keep", "on-failure"], &["false"])).expect(1);
    assert_eq!(kept(), 1);
    let _passed = Run::of(&mut exec(world, dir.path(), &["--keep", "always"], &["true"])).expect(0);
    assert_eq!(kept(), 2);
}

fn reads_the_terminal(world: &Harness) {
    let dir = world.dir();
    let script = "echo ready; read line; test -t 0 && echo got $line; exit 4";
    let mut terminal = Terminal::start(&mut exec(world, dir.path(), &[], &["sh", "-c", script]));
    terminal.expect("ready");
    terminal.send("some keys\n");
    terminal.expect("got some keys");
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(4), "{rest}");
    assert!(rest.contains("(verified)"), "{rest}");
}

fn ctrl_c_is_the_programs(world: &Harness) {
    let dir = world.dir();
    let mut terminal =
        Terminal::start(&mut exec(world, dir.path(), &[], &["sh", "-c", "echo ready; read line"]));
    terminal.expect("ready");
    terminal.send(CTRL_C);
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(128 + 2), "{rest}");
    assert!(rest.contains("killed by SIGINT") && rest.contains("(verified)"), "{rest}");

    let script = "trap 'echo caught; exit 6' INT; echo ready; read line";
    let mut terminal = Terminal::start(&mut exec(world, dir.path(), &[], &["sh", "-c", script]));
    terminal.expect("ready");
    terminal.send(CTRL_C);
    terminal.expect("caught");
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(6), "{rest}");
    assert!(rest.contains("(verified)"), "{rest}");
}

fn ctrl_c_twice_ends_the_recorder(world: &Harness) {
    let dir = world.dir();
    let script = "trap 'echo caught' INT; echo ready; while :; do read line; done";
    let mut terminal = Terminal::start(&mut exec(world, dir.path(), &[], &["sh", "-c", script]));
    terminal.expect("ready");
    // Where the machine is busy, two may be more than a second apart, or come as one.
    let keys = (1..).find(|_: &u32| {
        terminal.send(CTRL_C);
        !terminal.shows("caught")
    });
    assert!(keys.is_some_and(|keys| keys > 1), "one ends it, or none");
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(130), "{rest}");
}

/// A shell looks whether a signal has come, then reads: one that comes in between is lost, but it takes bad luck.
/// Recorded, it must take no less.
fn signals_are_not_kept_back_until_a_wait(world: &Harness) {
    let dir = world.dir();
    let script = "trap 'echo caught' USR1; echo $$; while :; do read line; done";
    let mut command = exec(world, dir.path(), &[], &["sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = Session::start(&mut command);
    let _stdin = session.child.stdin.take();
    let mut lines = BufReader::new(session.child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("a pipe");
    let shell = Pid::from_raw(line().parse().expect("a number"));
    for _ in 0..1000 {
        kill(shell, Signal::SIGUSR1).expect("a signal");
        assert_eq!(line(), "caught");
    }
    session.child.kill().expect("a child");
    session.child.wait().expect("a child");
}

fn a_termination_signal_ends_the_recorder(world: &Harness) {
    let dir = world.dir();
    let mut command = exec(world, dir.path(), &["--keep", "always"], &["sh", "-c", "echo ready; read line"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = Session::start(&mut command);
    // Else waiting for it would close it, and the program might end first.
    let _stdin = session.child.stdin.take();
    let mut line = String::new();
    BufReader::new(session.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    kill(Pid::from_raw(session.child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    assert_eq!(session.child.wait().expect("a child").code(), Some(130));
    assert_eq!(living(session.id()), [] as [String; 0]);
    // What was recorded until then is kept.
    let trace = rrtest_tests::traces(&dir.path().join("traces")).pop().expect("a trace");
    let replay = Run::of(&mut elsewhere(world, &trace)).expect(0);
    assert_eq!(replay.text(), "ready\n", "{replay}");
}

/// The recorder is in the program's process group: what the program sends to that is not for the recorder.
fn signals_to_the_group_are_for_the_program(world: &Harness) {
    let dir = world.dir();
    for script in ["kill -ABRT 0", "kill -ABRT -$(ps -o pgid= -p $$ | tr -d ' ')", "kill -KILL 0"] {
        let mut command = exec(world, dir.path(), &["--keep", "always"], &["sh", "-c", script]);
        // Else a recorder that passes it on would take us along.
        command.process_group(0);
        let signal = if script.contains("KILL") { 9 } else { 6 };
        let _killed = Run::of(&mut command).expect(128 + signal).says(&["(verified)"]);
    }
}
