//! `backtrace` and `replay --until`: where a trace's program fails, from the trace alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::RACES;
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    lead_into_own_code_for_each_race,
    need_neither_program_nor_sources,
    name_the_panic_that_matters,
    are_those_of_all_processes,
    at_any_event,
    by_events_that_show_lists,
    without_debug_information,
    of_traces_of_the_old_format,
    replay_stops_where_it_is_told_to,
    mistakes_are_told,
];

/// `cargo rrtest`, as on a machine where there is nothing else.
fn elsewhere(world: &Harness, args: &[&str], trace: &Path) -> Command {
    let mut command = Command::new(&world.tool.path);
    command.arg("rrtest").args(args).arg(trace).current_dir("/").env_clear();
    command
}

/// What `backtrace` says of a trace, for programs.
fn backtrace(world: &Harness, args: &[&str], trace: &Path) -> Value {
    let args = [&["backtrace", "--message-format", "json"], args].concat();
    let run = Run::of(&mut elsewhere(world, &args, trace)).expect(0);
    assert_eq!(run.stderr, "", "{run}");
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The functions of the user's own on a thread's stack, innermost first.
fn own(thread: &Value) -> Vec<&str> {
    let own = list(&thread["frames"]).iter().filter(|frame| frame["origin"] == "own");
    own.filter_map(|frame| frame["function"].as_str()).collect()
}

fn lead_into_own_code_for_each_race(world: &Harness) {
    for (package, kind, functions) in [
        ("lost-update", "panic", &["it::every_transfer_counts"][..]),
        ("async-order", "panic", &["it::entries_keep_their_order"]),
        ("crash", "signal", &["crash::Table::get"]),
        ("lock-order", "deadlock", &["lock_order::Directory::join", "lock_order::Directory::disband"]),
    ] {
        let race = RACES.iter().find(|race| race.package == package).expect("a race");
        let traces = world.dir();
        let (attempt, _) = race.find(world, 3, traces.path());
        let trace = attempt.trace().expect("a trace");
        let shown = backtrace(world, &[], &trace);
        assert_eq!(shown["failure"]["kind"], kind, "{package}: {shown:#}");
        let threads = list(&shown["threads"]);
        for function in functions {
            // Where others of the thread's own code follow, they have called it.
            let is_there = |thread: &Value| own(thread).first() == Some(function);
            assert!(threads.iter().any(is_there), "{package}: {function} in {shown:#}");
        }
        let texts = threads.iter().flat_map(|thread| list(&thread["frames"]));
        assert!(texts.filter(|frame| frame["text"].is_string()).count() > 0, "{package}: {shown:#}");
        if kind == "deadlock" {
            let waits: Vec<_> = threads.iter().filter_map(|thread| thread["doing"].as_str()).collect();
            assert!(
                waits.iter().filter(|waits| waits.contains("waits for a mutex")).count() == 2,
                "{waits:?}"
            );
        } else {
            assert_eq!(threads.len(), 1, "{shown:#}");
        }

        let text = Run::of(&mut elsewhere(world, &["backtrace"], &trace)).expect(0).text();
        assert!(functions.iter().all(|function| text.contains(function)), "{text}");
        let all = backtrace(world, &["--all"], &trace);
        assert!(list(&all["threads"]).len() > 1, "{all:#}");
        assert_eq!(all["moment"], shown["moment"]);
        assert_eq!(backtrace(world, &["--all"], &trace), all, "it is the same every time");
    }
}

/// A failure in the library, which a test in another file calls through an inlined function.
const LIBRARY: &str = "
#[inline(always)]
pub fn half(n: u32) -> u32 {
    checked(n) / 2
}

#[inline(never)]
pub fn checked(n: u32) -> u32 {
    assert!(n % 2 == 0, \"{n} is odd\");
    n
}
";

fn need_neither_program_nor_sources(world: &Harness) {
    let test = "#[test]\nfn t() {\n    assert_eq!(p::half(7), 3);\n}\n";
    let project = Project::new(world, &[("src/lib.rs", LIBRARY), ("tests/it.rs", test)]);
    let args = ["--test", "it", "--no-chaos", "-j1", "--with-sources", "all"];
    let trace = project.report(world, &args, 101).traces().remove(0);
    let moved = world.dir();
    let copy = moved.path().join("moved.rrtrace");
    fs::copy(&trace, &copy).expect("a copy");
    let before = backtrace(world, &["--all"], &copy);
    let words = Run::of(&mut elsewhere(world, &["backtrace", "--full"], &copy)).expect(0).text();
    drop(project);

    assert_eq!(backtrace(world, &["--all"], &copy), before);
    assert_eq!(Run::of(&mut elsewhere(world, &["backtrace", "--full"], &copy)).expect(0).text(), words);
    assert_eq!(before["failure"]["kind"], "panic");
    assert!(before["failure"]["message"].as_str().is_some_and(|it| it.ends_with("7 is odd")), "{before:#}");
    let frames = list(&before["threads"][0]["frames"]);
    let own: Vec<_> = frames.iter().filter(|frame| frame["origin"] == "own").collect();
    let [checked, half, test, ..] = &own[..] else { panic!("{before:#}") };
    assert_eq!(checked["text"], "    assert!(n % 2 == 0, \"{n} is odd\");");
    assert_eq!((&checked["line"], &checked["inlined"]), (&9.into(), &false.into()), "{before:#}");
    assert_eq!((&half["line"], &half["inlined"]), (&4.into(), &true.into()), "{before:#}");
    assert_eq!((&test["line"], &test["text"]), (&3.into(), &"    assert_eq!(p::half(7), 3);".into()));
    assert!(words.contains("moved.rrtrace: at event") && words.contains("| checked(n) / 2"), "{words}");
}

/// Panics that are caught, one of another thread that the test joins, and one in between.
const PANICS: &str = "
    #[test]
    fn t() {
        let _ = std::panic::catch_unwind(|| panic!(\"caught\"));
        let worker = std::thread::Builder::new().name(\"worker\".into()).spawn(|| helper(3)).unwrap();
        let result = worker.join();
        let _ = std::panic::catch_unwind(|| panic!(\"caught, too\"));
        result.unwrap();
    }
    fn helper(n: u32) {
        assert_eq!(n, 4, \"the worker fails\");
    }
";

fn name_the_panic_that_matters(world: &Harness) {
    let project = Project::of_test(world, PANICS);
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    // What was caught in between is the last one before that of the test, which tells of another.
    let shown = backtrace(world, &[], &trace);
    assert_eq!(shown["threads"][0]["thread"], "worker", "{shown:#}");
    assert_eq!(own(&shown["threads"][0])[0], "it::helper", "{shown:#}");
    let message = shown["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the worker fails") && !message.contains("stack backtrace"), "{message}");
}

const CHILD: &str = "
    use std::process::{Command, exit};
    fn main() {
        match std::env::args().nth(1) {
            Some(words) => fails(&words),
            None => {
                let me = std::env::current_exe().unwrap();
                let status = Command::new(me).arg(\"in the child\").status().unwrap();
                exit(status.code().unwrap())
            }
        }
    }
    fn fails(words: &str) {
        panic!(\"{words}\")
    }
";

fn are_those_of_all_processes(world: &Harness) {
    let project = Project::new(world, &[("src/main.rs", CHILD)]);
    let program = project.program("p");
    let traces = world.dir();
    let mut exec = world.tool.cargo(traces.path());
    let _run = Run::of(exec.args(["exec", "--trace-dir", ".", "--"]).arg(program)).expect(101);
    let trace = rrtest_tests::traces(traces.path()).remove(0);
    let shown = backtrace(world, &["--all"], &trace);
    assert_eq!(shown["failure"]["kind"], "panic", "{shown:#}");
    let [child, parent] = list(&shown["threads"]) else { panic!("{shown:#}") };
    assert_eq!((&child["process"], &parent["process"]), (&child["task"], &0.into()));
    assert_eq!((own(child)[0], own(parent)), ("p::fails", vec!["p::main"]), "{shown:#}");
    let text = Run::of(&mut elsewhere(world, &["backtrace"], &trace)).expect(0).text();
    assert!(text.contains("(task 1 of the process of task 1)"), "{text}");
}

/// A test that ends by itself, so that there is no panic.
const EXITS: &str = "
    #[test]
    fn t() {
        std::thread::spawn(|| exits()).join().unwrap();
    }
    fn exits() {
        std::process::exit(7)
    }
";

fn at_any_event(world: &Harness) {
    let project = Project::of_test(world, EXITS);
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    let end = backtrace(world, &[], &trace);
    assert_eq!((&end["failure"]["kind"], &end["failure"]["exit_code"]), (&"exit".into(), &7.into()));
    assert_eq!(own(&end["threads"][0])[0], "it::exits", "{end:#}");
    let last = end["moment"]["event"].as_u64().expect("a number");
    assert_eq!(end["moment"]["last_event"], last);
    let mut seen = 0;
    for event in (1..=last).step_by(1 + last as usize / 20) {
        let shown = backtrace(world, &["--all", "--at", &event.to_string()], &trace);
        assert_eq!((&shown["failure"], &shown["moment"]["event"]), (&Value::Null, &event.into()));
        assert_eq!(shown["threads"][0]["task"], shown["moment"]["task"], "{shown:#}");
        seen += list(&shown["threads"]).iter().filter(|thread| !list(&thread["frames"]).is_empty()).count();
    }
    assert!(seen >= 20, "{seen} stacks");
    let at = last.to_string();
    assert_eq!(backtrace(world, &["--at", &at], &trace)["threads"], end["threads"]);
}

fn by_events_that_show_lists(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn bad() { panic!(\"on purpose\") }");
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    let show = |range: &str| elsewhere(world, &["show", range], &trace);
    let all = Run::of(&mut show("--events")).expect(0).text();
    let lines: Vec<_> = all.lines().collect();
    assert!(lines.last().is_some_and(|line| line.ends_with(" end: exited with code 101")), "{all}");
    for (number, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{number} ")), "{line}");
    }
    let failure = backtrace(world, &[], &trace)["moment"]["event"].as_u64().expect("a number") as usize;
    let some = Run::of(&mut show(&format!("--events={failure}..{}", failure + 2))).expect(0).text();
    assert_eq!(some.lines().collect::<Vec<_>>(), lines[failure..failure + 2]);
    let none = Run::of(&mut show(&format!("--events={}..", lines.len()))).expect(2);
    let _told = none.says(&[&format!("there is no event {}: the trace has {0} events", lines.len())]);
    let _wrong = Run::of(&mut show("--events=9")).expect(2).says(&["as in --events=50..64"]);
}

fn without_debug_information(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn t() { panic!(\"on purpose\") }\n");
    let args = ["--no-chaos", "-j1", "--no-debug-info", "--with-sources", "none"];
    let trace = project.report(world, &args, 101).traces().remove(0);
    // The program is the one that was recorded.
    assert_eq!(own(&backtrace(world, &[], &trace)["threads"][0])[0], "it::t");
    let moved = world.dir();
    let copy = moved.path().join("moved.rrtrace");
    fs::copy(&trace, &copy).expect("a copy");
    drop(project);
    let says = ["warning", "does not carry", "deps/it-"];
    let run = Run::of(&mut elsewhere(world, &["backtrace"], &copy)).expect(0).says(&says);
    let text = run.text();
    assert!(text.contains("exit code 101; whether it panicked is not known"), "{run}");
    assert!(text.contains(" in it-"), "{run}");
    let run = Run::of(&mut elsewhere(world, &["replay", "--until", "panic"], &copy)).expect(2);
    let _run = run.says(&["no panic made this program fail", "whether it panicked is not known"]);
}

fn of_traces_of_the_old_format(world: &Harness) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/10");
    for trace in rrtest_tests::traces(&golden) {
        let run = Run::of(&mut elsewhere(world, &["backtrace", "--all"], &trace)).expect(0);
        let text = run.text();
        assert!(text.contains("Backtrace ") && text.contains(" in tiny"), "{run}");
    }
}

fn replay_stops_where_it_is_told_to(world: &Harness) {
    let project = Project::of_test(world, PANICS);
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    let shown = backtrace(world, &[], &trace);
    let event = shown["moment"]["event"].as_u64().expect("a number");
    for until in ["panic", "PANIC"] {
        let run = Run::of(&mut elsewhere(world, &["replay", "--until", until], &trace)).expect(0);
        let place = format!("as recorded, at event {event} of ");
        let _run = run.says(&[&place, "thread `worker`", "it::helper", "the worker fails"]);
    }
    let at = (event - 1).to_string();
    let run = Run::of(&mut elsewhere(world, &["replay", "--until", &at], &trace)).expect(0);
    let _run = run.says(&[&format!("as recorded, at event {at} of ")]);
    // All of the output, but the end is yet to come.
    let last = shown["moment"]["last_event"].to_string();
    let run = Run::of(&mut elsewhere(world, &["replay", "--until", &last], &trace)).expect(0);
    let whole = Run::of(&mut elsewhere(world, &["replay"], &trace)).expect(0);
    assert_eq!(run.text(), whole.text());
}

fn mistakes_are_told(world: &Harness) {
    let project = Project::of_test(world, EXITS);
    let trace = project.report(world, &["--no-chaos", "-j1"], 101).traces().remove(0);
    let fails = |args: &[&str], says: &[&str]| {
        let run = Run::of(&mut elsewhere(world, args, &trace)).expect(2).says(says);
        assert_eq!(run.text(), "", "{run}");
    };
    for event in ["0", "1000000", "18446744073709551615"] {
        fails(&["backtrace", "--at", event], &["there is no event", event, "it has the events 1 to"]);
        fails(&["replay", "--until", event], &["there is no event", event]);
    }
    for event in ["x", "1.5", "18446744073709551616", ""] {
        fails(&["backtrace", "--at", event], &["invalid value", "--at"]);
        fails(&["replay", "--until", event], &["the number of an event, or `panic`, is expected"]);
    }
    fails(
        &["replay", "--until", "panic"],
        &["no panic made this program fail: exit code 7, without a panic"],
    );
    fails(&["backtrace", "--message-format", "xml"], &["invalid value"]);
}
