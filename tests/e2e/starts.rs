//! Attempts of a test are forked from a process that has started up: nobody can tell, but from the report.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    one_attempt_is_none_of_many,
    forked_attempts_see_the_world_as_it_is,
    equal_seeds_are_equal_however_they_start,
    what_runs_before_main,
    a_start_that_cannot_be_shared_says_so,
];

/// What is seen of the world, early and late, must fit together. It fails, so that there is something to replay.
const WORLD: &str = r#"
use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
#[test]
fn sees() {
    let id = std::process::id();
    let task = std::fs::read_link("/proc/self").unwrap();
    assert_eq!(task.to_str(), Some(id.to_string().as_str()));
    let status = std::process::Command::new("sh").args(["-c", "exit $((PPID == $0))", &id.to_string()]).status();
    assert_eq!(status.unwrap().code(), Some(1), "the parent's id");
    let (now, since) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap(), Instant::now());
    let file = std::fs::metadata(std::env::current_exe().unwrap()).unwrap().modified().unwrap();
    assert!(file.duration_since(UNIX_EPOCH).unwrap() < now);
    let map: HashMap<u32, ()> = (0..50).map(|n| (n, ())).collect();
    let order: Vec<String> = map.keys().map(u32::to_string).collect();
    println!("ID {id} ORDER {} NOW {}", order.join(","), now.as_nanos());
    let other = std::thread::spawn(move || since.elapsed()).join().unwrap();
    assert!(other <= since.elapsed());
    panic!("seen");
}
"#;

/// Three threads that increment, not atomically.
const RACE: &str = r#"
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
static COUNT: AtomicU32 = AtomicU32::new(0);
#[test]
fn counts() {
    let add = || { let now = COUNT.load(SeqCst); COUNT.store(now + 1, SeqCst); };
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(add)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(COUNT.load(SeqCst), 3);
}
"#;

/// A test that passes, and what runs before it.
fn with_constructor(body: &str) -> String {
    format!(
        r#"
use std::sync::atomic::{{AtomicU32, Ordering::SeqCst}};
static MADE: AtomicU32 = AtomicU32::new(0);
extern "C" fn constructor() {{ {body} }}
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;
#[test]
fn finds() {{ assert_eq!(MADE.load(SeqCst), 1 + std::process::id()) }}
"#
    )
}

fn starts(report: &Report) -> Vec<&str> {
    report.attempts.iter().map(|attempt| attempt.text("start")).collect()
}

fn one_attempt_is_none_of_many(world: &Harness) {
    let project = Project::of_test(world, WORLD);
    let report = project.report(world, &["--runs", "1"], 101);
    assert_eq!(starts(&report), ["full"]);
    assert!(!report.attempts[0].0.contains_key("start_reason"), "{report:?}");
}

fn forked_attempts_see_the_world_as_it_is(world: &Harness) {
    let project = Project::of_test(world, WORLD);
    let report = project.report(world, &["--runs", "4", "-j1", "--keep", "always"], 101);
    assert_eq!(starts(&report), ["forked"; 4], "{report:?}");
    let mut seen = Vec::new();
    for attempt in &report.attempts {
        assert_eq!(attempt.text("outcome"), "failed");
        let trace = attempt.trace().expect("a trace");
        let replay = Run::of(&mut elsewhere(world, &trace)).expect(0);
        let text = replay.text();
        let line = text.lines().find(|line| line.contains("ID ")).unwrap_or_else(|| panic!("{replay}"));
        seen.push(line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }
    for word in [1, 3, 5] {
        for (index, line) in seen.iter().enumerate() {
            assert!(seen[..index].iter().all(|other| other[word] != line[word]), "{seen:?}");
        }
    }
}

fn equal_seeds_are_equal_however_they_start(world: &Harness) {
    let project = Project::of_test(world, RACE);
    let many = Run::of(
        project.rrtest(world, &["--message-format", "json"]).args(["--runs", "24", "-j2", "--seed", "5"]),
    );
    let many = Report::of(&many);
    assert!(starts(&many).iter().all(|start| *start == "forked"), "{many:?}");
    let failed: Vec<&Attempt> = many.failing().take(2).collect();
    let passed = many.attempts.iter().filter(|attempt| attempt.text("outcome") == "passed").take(2);
    assert!(!failed.is_empty(), "{many:?}");
    for attempt in passed.chain(failed) {
        let run = Run::of(project.rrtest(world, &["--message-format", "json"]).args([
            "--runs",
            "1",
            "--seed",
            attempt.text("seed"),
        ]));
        let one = Report::of(&run);
        assert_eq!(starts(&one), ["full"]);
        for field in ["outcome", "strategy", "ticks", "preemptions"] {
            assert_eq!(one.attempts[0].0[field], attempt.0[field], "{field}: {attempt:?}\n{run}");
        }
    }
}

/// Ids, files and threads of code that runs before the test harness.
fn what_runs_before_main(world: &Harness) {
    let id = "MADE.fetch_add(1 + std::process::id(), SeqCst);";
    let thread = format!("std::thread::spawn(|| {{ {id} }}).join().unwrap();");
    let file =
        format!("let _lines = std::fs::read_to_string(\"/etc/passwd\").unwrap().lines().count(); {id}");
    for body in [&thread, &file] {
        let project = Project::of_test(world, &with_constructor(body));
        let report = project.report(world, &["--runs", "4", "-j1", "--keep", "always"], 0);
        for attempt in &report.attempts {
            assert_eq!(attempt.text("outcome"), "passed", "{body}: {report:?}");
            assert!(attempt.trace().is_some(), "{body}: {report:?}");
        }
        if *body == thread {
            assert_eq!(starts(&report), ["forked"; 4], "{report:?}");
        }
    }
}

fn a_start_that_cannot_be_shared_says_so(world: &Harness) {
    let file = "let file = std::fs::File::open(\"/proc/self/maps\").unwrap(); std::mem::forget(file);";
    let id = "MADE.fetch_add(1 + std::process::id(), SeqCst);";
    let project = Project::of_test(world, &with_constructor(&format!("{file} {id}")));
    let report = project.report(world, &["--runs", "4", "-j1", "--keep", "always"], 0);
    for attempt in &report.attempts {
        assert_eq!((attempt.text("outcome"), attempt.text("start")), ("passed", "full"), "{report:?}");
        assert!(attempt.text("start_reason").contains("files open"), "{report:?}");
        assert!(attempt.trace().is_some(), "{report:?}");
    }
}
