//! Attempts that do not end: how soon they are given up, and that no report takes them for passed.

use std::collections::BTreeMap;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;
use serde_json::json;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    hangs_of_every_kind_are_judged_by_what_is_usual,
    what_is_slow_now_and_then_does_not_hang,
    a_sleep_beyond_the_limit_hangs_at_once,
    a_test_that_never_ends_is_not_green,
    a_test_beside_one_that_hangs_has_its_turn,
];

/// Passes in the first `PASS` attempts, which are counted in a file, and does something else in the next.
const PASS: u64 = 5;
const PRELUDE: &str = r#"
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
static NEVER: AtomicBool = AtomicBool::new(false);
const HOUR: Duration = Duration::from_secs(3600);
fn nth(n: u64) -> bool {
    use std::io::Write;
    let name = format!("attempts of {}", std::thread::current().name().unwrap());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(name).unwrap();
    file.write_all(b"!").unwrap();
    file.metadata().unwrap().len() == n
}
"#;

/// What tests do in the attempt in which they do not pass, and what the report says then.
const KINDS: &[(&str, &str, &str)] = &[
    ("sleeps", "std::thread::sleep(HOUR)", BEFORE),
    (
        "limited",
        "{ let (kept, receiver) = std::sync::mpsc::channel::<()>(); drop((receiver.recv_timeout(HOUR), kept)) }",
        BEFORE,
    ),
    ("child", "{ std::process::Command::new(\"sleep\").arg(\"3600\").status().unwrap(); }", BEFORE),
    ("spins", "while !NEVER.load(Ordering::SeqCst) {}", USUAL),
    ("spin_loops", "while !NEVER.load(Ordering::SeqCst) { std::hint::spin_loop() }", USUAL),
    ("yields", "while !NEVER.load(Ordering::SeqCst) { std::thread::yield_now() }", USUAL),
    ("computes", "loop { std::hint::black_box(()) }", USUAL),
    ("polls", "while !NEVER.load(Ordering::SeqCst) { std::thread::sleep(Duration::from_millis(1)) }", USUAL),
    ("listens", "drop(std::net::TcpListener::bind((\"0.0.0.0\", 0)).unwrap().accept())", USUAL),
    (
        "child_spins",
        "{ std::process::Command::new(\"sh\").args([\"-c\", \"while :; do :; done\"]).status().unwrap(); }",
        USUAL,
    ),
];
const BEFORE: &str = "nothing can happen before the time limit";
const USUAL: &str = ", where it usually takes ";

fn source(tests: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    let tests = tests.into_iter().map(|(name, body)| {
        format!("#[test] fn {}() {{ if nth({}) {{ {} }} }}\n", name.as_ref(), PASS + 1, body.as_ref())
    });
    PRELUDE.to_owned() + &tests.collect::<String>()
}

fn hangs_of_every_kind_are_judged_by_what_is_usual(world: &Harness) {
    let project = Project::of_test(world, &source(KINDS.iter().map(|(name, body, _)| (name, body))));
    let runs = (PASS + 1).to_string();
    let mut command =
        project.rrtest(world, &["--message-format", "json", "--runs", &runs, "--time", "real", "-j1"]);
    let run = Run::of(&mut command).expect(101);
    let report = Report::of(&run);
    for (name, _, says) in KINDS {
        let attempts: Vec<_> =
            report.attempts.iter().filter(|attempt| attempt.text("test") == *name).collect();
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.text("outcome")).collect();
        assert_eq!(outcomes, [&["passed"; PASS as usize][..], &["hung"]].concat(), "{name}: {run}");
        assert!(attempts.last().is_some_and(|attempt| attempt.trace().is_some()), "{name}: {run}");
        let block = run.stderr.split("HUNG").find(|block| block.contains(&format!("::it {name} ")));
        assert!(block.is_some_and(|block| block.contains(says)), "{name}: {run}");
    }
}

fn what_is_slow_now_and_then_does_not_hang(world: &Harness) {
    let source = PRELUDE.to_owned()
        + &format!(
            "
            fn work(times: u64) {{
                let done = std::sync::atomic::AtomicU64::new(0);
                for _ in 0..times * 20_000 {{ done.fetch_add(1, Ordering::SeqCst); }}
            }}
            #[test] fn computes() {{ work(if nth({n}) {{ 40 }} else {{ 1 }}) }}
            #[test] fn sleeps() {{ std::thread::sleep(Duration::from_millis(if nth({n}) {{ 800 }} else {{ 20 }})) }}
            #[test] fn tries_again() {{ if nth({n}) {{ std::thread::sleep(Duration::from_secs(4)); work(1) }} }}
            ",
            n = PASS + 1
        );
    let project = Project::of_test(world, &source);
    let report = project.report(world, &["--runs", "8", "--time", "real"], 0);
    assert_eq!(report.attempts.len(), 24);
}

/// The attributes and texts of a JUnit report's test cases that `said` picks, by name.
fn cases(text: &str) -> BTreeMap<&str, &str> {
    let cases = text.split("<testcase name=\"").skip(1);
    cases.map(|case| case.split_once('"').expect("a name")).collect()
}

fn a_sleep_beyond_the_limit_hangs_at_once(world: &Harness) {
    let project = Project::of_test(
        world,
        "#[test] fn sleeps() { std::thread::sleep(std::time::Duration::from_secs(86_400)) }",
    );
    let options =
        ["--until-fail", "--for", "1h", "--timeout", "2h", "--time", "real", "--junit", "report.xml"];
    let report = project.report(world, &options, 101);
    let [attempt, ..] = &report.attempts[..] else { panic!("{report:?}") };
    assert_eq!(attempt.text("outcome"), "hung");
    // Attempts side by side hang alike: the trace of one is kept.
    let trace = report.attempts.iter().find_map(|attempt| attempt.trace()).expect("a trace");
    assert_eq!(report.summary["failed"], json!(["p::it sleeps"]));
    let _replayed = Run::of(&mut elsewhere(world, &trace))
        .expect(0)
        .says(&["nothing can happen before the time limit; the next event is due in "]);
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    assert!(
        cases(&junit)["sleeps"].contains(r#"<failure message="nothing can happen before the time limit"#),
        "{junit}"
    );
}

fn a_test_that_never_ends_is_not_green(world: &Harness) {
    let source = "
        #[test] fn listens() { drop(std::net::TcpListener::bind((\"0.0.0.0\", 0)).unwrap().accept()) }
    ";
    let project = Project::of_test(world, source);
    let options = ["--message-format", "json", "--until-fail", "--for", "4s", "--junit", "report.xml"];
    let run = Run::of(&mut project.rrtest(world, &options))
        .expect(101)
        .says(&["never ended p::it listens: ", " still running when the time was up"]);
    let report = Report::of(&run);
    assert!(!report.attempts.is_empty(), "{run}");
    assert!(report.attempts.iter().all(|attempt| attempt.text("outcome") == "unfinished"), "{run}");
    assert_eq!(report.summary["attempts"], 0, "{run}");
    assert_eq!(report.summary["failed"], json!([]), "{run}");
    assert_eq!(report.summary["never_ended"], json!(["p::it listens"]), "{run}");
    // On a busy machine there is no time left to verify it.
    let kept = report.attempts.iter().filter_map(|attempt| attempt.0["trace"].as_str());
    assert_eq!(kept.filter(|trace| std::path::Path::new(trace).is_file()).count(), 1, "{run}");
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    let case = cases(&junit)["listens"];
    assert!(
        case.contains(r#"type="unfinished""#) && case.contains(" still running when the time was up"),
        "{junit}"
    );
}

fn a_test_beside_one_that_hangs_has_its_turn(world: &Harness) {
    let source = "
        use std::sync::atomic::{AtomicBool, Ordering};
        static NEVER: AtomicBool = AtomicBool::new(false);
        #[test] fn a_spins() { while !NEVER.load(Ordering::SeqCst) { std::hint::spin_loop() } }
        #[test] fn passes() {}
    ";
    let project = Project::of_test(world, source);
    // Time enough for a busy machine: how much of it goes to the one that hangs is a matter of processor time.
    let options = ["--for", "20s", "-j1", "--no-chaos", "--junit", "report.xml"];
    let report = project.report(world, &options, 101);
    let outcomes = |name| {
        report
            .attempts
            .iter()
            .filter(move |attempt| attempt.text("test") == name)
            .map(|attempt| attempt.text("outcome"))
    };
    assert!(
        outcomes("passes").all(|outcome| outcome == "passed") && outcomes("passes").count() > 0,
        "{report:?}"
    );
    assert!(outcomes("a_spins").all(|outcome| outcome == "unfinished"), "{report:?}");
    assert_eq!(report.summary["never_ended"], json!(["p::it a_spins"]));
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    let cases = cases(&junit);
    assert!(cases["a_spins"].contains("<failure") && !cases["passes"].contains("<failure"), "{junit}");
}
