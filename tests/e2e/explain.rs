//! What a failure needs: found out by experiments after it, told with the lines that race, and kept as a trace.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;
use serde_json::{Map, Value};

use crate::json::mistakes;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    names_the_lines_that_race,
    tells_a_data_race_from_other_races,
    says_nothing_of_a_race_that_is_not_certain,
    names_the_acquisitions_that_deadlock,
    names_the_surprise,
    keeps_the_smallest_schedule,
    keeps_the_first_trace_if_asked_to,
    says_that_what_always_fails_is_no_race,
    says_that_something_else_differs,
    does_nothing_if_told_so,
    says_why_it_does_nothing,
    ends_with_ctrl_c
];

/// Looks for the failure of a fixture until it is found. Returns what was found out of it.
fn explained(world: &Harness, package: &str, level: &str) -> (Map<String, Value>, Run) {
    let traces = world.dir();
    let mut command = world.fixture(package, traces.path());
    // A machine that others use, too, may take longer than by default.
    let run = Run::of(command.args([
        "--until-fail",
        "--runs",
        ENOUGH,
        "-j1",
        "--preempt",
        level,
        "--seed",
        "3",
        "--explain",
        LONG_ENOUGH,
    ]))
    .expect(101);
    let report = Report::of(&run);
    let [explanation] = &report.explanations[..] else { panic!("one failure, one explanation: {run}") };
    (explanation.clone(), run)
}

/// The text of a window's place.
fn text<'a>(window: &'a Value, place: &str) -> &'a str {
    window[place]["text"].as_str().unwrap_or_default()
}

/// Its claim must hold.
fn holds(explanation: &Value, run: &Run) {
    let of = |what: &str, field: &str| explanation[what][field].as_u64().expect("a number");
    assert!(of("with", "runs") >= 20 && of("without", "runs") >= 20, "{run}");
    assert_eq!((of("with", "failed"), of("without", "failed")), (of("with", "runs"), 0), "{run}");
}

fn names_the_lines_that_race(world: &Harness) {
    // What must have been done, what must not, and what the other thread does meanwhile.
    for (package, level, after, before, up_to) in [
        ("lost-update", "sync", "self.used.load(", "self.used.store(", "self.used."),
        ("check-then-act", "sync", "*self.balance.lock()", "-= amount", "self.balance.lock()"),
        ("unsafe-race", "memory", "self.words[page / 64]", "*word |=", "word"),
        ("file-race", "sync", ".exists()", "fs::write(", ""),
        ("lost-wakeup", "sync", "self.open.load(", "self.callers.lock()", "self.opened.notify_all()"),
    ] {
        let (line, run) = explained(world, package, level);
        let explanation = &line["explanation"];
        assert_eq!(explanation["needs"], "preemptions", "{run}");
        assert_eq!(explanation["preemptions"]["after"], 1, "{run}");
        let [window] = &explanation["windows"].as_array().expect("windows")[..] else { panic!("{run}") };
        for (place, expected) in [("after", after), ("before", before), ("up_to", up_to)] {
            assert!(text(window, place).contains(expected), "{place} of {package}: {run}");
        }
        holds(explanation, &run);
        let told = line["lines"].as_array().expect("lines");
        assert!(told.iter().any(|line| line.as_str().is_some_and(|line| line.contains(before))), "{run}");
    }
}

fn tells_a_data_race_from_other_races(world: &Harness) {
    for (package, kind, at) in [
        ("unsafe-race", "data_race", "*word |="),
        ("lost-update", "race_condition", "self.used.store("),
        ("check-then-act", "race_condition", "self.balance.lock()"),
        ("three-way", "race_condition", ""),
        ("lost-wakeup", "race_condition", ""),
    ] {
        let (line, run) = explained(world, package, "memory");
        assert_eq!(mistakes(&Value::Object(line.clone())), [""; 0], "{run}");
        let race = &line["explanation"]["race"];
        // Whose window has other edges may have nothing said of it, but nothing wrong.
        if race.is_null() && kind == "race_condition" && at.is_empty() {
            continue;
        }
        assert_eq!(race["kind"], kind, "{package}: {run}");
        assert!(text(&race["held"], "place").contains(at), "{package}: {run}");
        let said = if kind == "data_race" {
            "data race (undefined behaviour)"
        } else {
            "race condition, no data race"
        };
        assert!(run.stderr.contains(said), "{package}: {run}");
    }
}

/// A flag that is released and acquired orders the plain accesses; what fails is something else.
const ORDERED: &str = "
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::{Acquire, Release, SeqCst}};
struct Shared { value: UnsafeCell<u32>, ready: AtomicBool, sum: AtomicU32 }
unsafe impl Sync for Shared {}
static SHARED: Shared =
    Shared { value: UnsafeCell::new(0), ready: AtomicBool::new(false), sum: AtomicU32::new(0) };
fn add() { let sum = SHARED.sum.load(SeqCst); SHARED.sum.store(sum + 1, SeqCst); }
#[test]
fn adds() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unsafe { *SHARED.value.get() = 7 };
            SHARED.ready.store(true, Release);
            add();
        });
        scope.spawn(|| {
            while !SHARED.ready.load(Acquire) { std::hint::spin_loop(); }
            assert_eq!(unsafe { *SHARED.value.get() }, 7);
            add();
        });
    });
    assert_eq!(SHARED.sum.load(SeqCst), 2);
}";

fn says_nothing_of_a_race_that_is_not_certain(world: &Harness) {
    let project = Project::of_test(world, ORDERED);
    let hunt =
        ["--until-fail", "--runs", ENOUGH, "-j1", "--seed", "5", "--explain", LONG_ENOUGH, "--preempt"];
    let report = project.report(world, &[&hunt[..], &["memory"]].concat(), 101);
    let [line] = &report.explanations[..] else { panic!("{report:?}") };
    assert_ne!(line["explanation"]["race"]["kind"], "data_race", "{report:?}");
    // Where plain accesses do not tick, there is nothing to know of them.
    let (line, run) = explained(world, "lost-update", "sync");
    assert!(line["explanation"].get("race").is_none(), "{run}");
}

fn names_the_acquisitions_that_deadlock(world: &Harness) {
    let (line, run) = explained(world, "lock-order", "sync");
    let window = &line["explanation"]["windows"][0];
    let (teams, members) = ("self.teams_of.lock()", "self.members_of.lock()");
    let told = [text(window, "after"), text(window, "before"), text(window, "up_to")];
    // Either thread can be the one that is preempted.
    let circle = |first: &str, second: &str| {
        told[0].contains(first) && told[1].contains(second) && told[2].contains(second)
    };
    assert!(circle(teams, members) || circle(members, teams), "{run}");
    holds(&line["explanation"], &run);
}

fn names_the_surprise(world: &Harness) {
    let (line, run) = explained(world, "short-read", "sync");
    let explanation = &line["explanation"];
    assert_eq!((&explanation["needs"], &explanation["surprises"]["after"]), (&"surprises".into(), &1.into()));
    let told = explanation["besides"][0].as_str().expect("a sentence");
    assert!(told.starts_with("`short`: ") && told.contains("short-read/src/lib.rs:"), "{run}");
    holds(explanation, &run);
}

/// Two threads add 1 by load and store, after some work.
const TORN: &str = "
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
static SUM: AtomicU32 = AtomicU32::new(0);
static WORK: AtomicU32 = AtomicU32::new(0);
#[test]
fn adds() {
    let add = || {
        for _ in 0..20 { WORK.fetch_add(1, SeqCst); }
        let sum = SUM.load(SeqCst);
        SUM.store(sum + 1, SeqCst);
    };
    std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
    assert_eq!(SUM.load(SeqCst), 2);
}";

const HUNT: &[&str] = &[
    "--until-fail",
    "--runs",
    ENOUGH,
    "-j1",
    "--preempt",
    "sync",
    "--strategy",
    "walk",
    "--seed",
    "5",
    "--explain",
    LONG_ENOUGH,
];

fn keeps_the_smallest_schedule(world: &Harness) {
    let project = Project::of_test(world, TORN);
    let report = project.report(world, HUNT, 101);
    let failing = report.failing().next().expect("a failure");
    assert!(failing.number("preemptions") > 1, "there is something to leave out: {failing:?}");
    let [explanation] = &report.explanations[..] else { panic!("{report:?}") };
    let after = &explanation["explanation"]["preemptions"]["after"];
    assert_eq!((after, &explanation["trace"]), (&1.into(), &failing.0["trace"]));
    assert_eq!(project.traces(), Vec::from_iter(failing.trace()), "{report:?}");
    // It is that schedule's trace, which says so itself and fails as the attempt did.
    let show = Run::of(&mut project.rrtest(world, &["show"])).expect(0);
    for part in
        ["needs 1 preemption of ", "let sum = SUM.load(SeqCst);", "fails in 50 of 50 runs so, in 0 of 50"]
    {
        assert!(show.text().contains(part), "{part}: {show}");
    }
    let counted = show.text();
    let counted =
        counted.lines().find(|line| line.contains("preemption") && line.contains("tick")).expect("counts");
    assert!(!counted.contains(&format!("{} preemptions", failing.number("preemptions"))), "{show}");
    let replayed = Run::of(&mut project.rrtest(world, &["replay"])).expect(0);
    let _run = replayed.says(&["as recorded", "tests/it.rs:13:5"]);
}

fn keeps_the_first_trace_if_asked_to(world: &Harness) {
    let project = Project::of_test(world, TORN);
    let report = project.report(world, &[HUNT, &["--keep-original"]].concat(), 101);
    let traces = project.traces();
    assert_eq!(traces.len(), 2, "{report:?}");
    for trace in traces {
        let trace = trace.to_str().expect("a text");
        let _run = Run::of(&mut project.rrtest(world, &["replay", trace])).expect(0);
    }
}

fn says_that_what_always_fails_is_no_race(world: &Harness) {
    let source = "#[test]\nfn wrong() { std::thread::scope(|s| { s.spawn(|| ()); }); assert_eq!(1 + 1, 3) }";
    let project = Project::of_test(world, source);
    let report = project.report(world, &["--preempt", "sync", "--explain", LONG_ENOUGH], 101);
    let [line] = &report.explanations[..] else { panic!("{report:?}") };
    assert_eq!(line["explanation"]["needs"], "nothing", "{report:?}");
    assert!(line["lines"][0].as_str().is_some_and(|line| line.contains("it is no race")), "{report:?}");
    assert!(report.failing().all(|attempt| attempt.trace().is_some()), "{report:?}");
}

fn says_that_something_else_differs(world: &Harness) {
    // It fails at another line each time.
    let places: String =
        (0..64).map(|number| format!("        {number} => panic!(\"{number}\"),\n")).collect();
    let source = format!(
        "#[test]
        fn differs() {{
            let path = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/count\");
            let count = std::fs::read(path).map_or(0, |bytes| bytes.len());
            std::fs::write(path, vec![b'.'; count + 1]).unwrap();
            match count {{\n{places}        _ => {{}} }}
        }}"
    );
    let project = Project::of_test(world, &source);
    let report = project.report(world, &["--preempt", "sync", "--explain", LONG_ENOUGH], 101);
    let [line] = &report.explanations[..] else { panic!("{report:?}") };
    assert_eq!(line["explanation"]["needs"], "unknown", "{report:?}");
    assert_eq!(project.traces(), report.traces());
    let _run = Run::of(&mut project.rrtest(world, &["replay"])).expect(0);
}

fn does_nothing_if_told_so(world: &Harness) {
    let project = Project::of_test(world, TORN);
    let never = HUNT.iter().map(|arg| if *arg == LONG_ENOUGH { "never" } else { arg }).collect::<Vec<_>>();
    let report = project.report(world, &never, 101);
    assert!(report.explanations.is_empty() && report.traces().len() == 1, "{report:?}");
}

/// No attempt is as short as a part of a microsecond.
fn says_why_it_does_nothing(world: &Harness) {
    let project = Project::of_test(world, "#[test] fn t() { panic!() }");
    let options = ["--runs", "1", "-j1", "--preempt", "sync", "--surprises", "none", "--explain", "1us"];
    let _said = Run::of(&mut project.rrtest(world, &options)).expect(101).says(&[
        "p::it t is not explained: an attempt takes ",
        ", and there are 0s left for experiments",
        "--explain ",
    ]);
}

fn ends_with_ctrl_c(world: &Harness) {
    let project = Project::of_test(world, TORN);
    let mut command = project.rrtest(world, &[HUNT, &["--message-format", "json"]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut trace = None;
    for line in lines {
        let line: Map<String, Value> = serde_json::from_str(&line.expect("a line")).expect("JSON");
        if line["event"] == "attempt" && line["outcome"] == "failed" {
            trace = line["trace"].as_str().map(str::to_owned);
            // Explaining has just begun, or has not yet.
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it is there");
        }
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(101));
    let trace = trace.expect("a trace");
    let _run = Run::of(&mut project.rrtest(world, &["replay", &trace])).expect(0);
    assert_eq!(project.traces().len(), 1);
}
