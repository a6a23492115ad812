//! Tests together in other orders than that of their names, and tests that need others.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    what_a_distant_test_leaves_behind_is_met,
    what_a_distant_test_does_first_is_missed,
    a_plain_schedule_has_the_usual_order,
    tests_that_are_right_in_any_order_pass,
    a_needy_test_is_told,
    others_are_not_told_to_be_needy,
];

/// Attempts within which an order is found that fails.
const ATTEMPTS: &str = "200";

const SENTENCE: &str = "it passes when all tests of its binary run in one process, as under `cargo test`";

/// `cargo rrtest --together` on one of the binaries of `test-order`.
fn together(world: &Harness, traces: &std::path::Path, binary: &str, args: &[&str]) -> std::process::Command {
    let mut command = world.fixture("test-order", traces);
    command.args(["--together", "--preempt", "sync", "-j1", "--test", binary]).args(args);
    command
}

fn texts(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

/// With any seed an order that fails is found, which comes again with its attempt's seed, is told, and replays. Chaos
/// finds one in the usual way, too, if rarely: that is not what is looked for.
fn find(world: &Harness, binary: &str, failing: &str, check: impl Fn(&Attempt, &[&str])) {
    for seed in ["1", "2"] {
        let traces = world.dir();
        let args = ["--until-fail", "--keep-going", "--runs", ATTEMPTS, "--seed", seed];
        let run = Run::of(&mut together(world, traces.path(), binary, &args)).expect(101);
        let report = Report::of(&run);
        let found = report.failing().find(|attempt| attempt.0.contains_key("order")).expect("another order");
        assert_eq!(texts(&found.0["failed_tests"]), [failing], "{run}");
        let order = &found.0["order"];
        assert_eq!(order["of"], 42, "{run}");
        check(found, &texts(&order["ended"]));

        let again = ["--runs", "1", "--seed", found.text("seed")];
        let other_traces = world.dir();
        let again = Run::of(&mut together(world, other_traces.path(), binary, &again)).expect(101);
        let again = again.says(&[" order ", "ended in this order: ", "cargo test -p test-order --test "]);
        let repeated = &Report::of(&again).attempts[0];
        for field in ["seed", "strategy", "outcome", "failed_tests", "order", "ticks", "preemptions"] {
            assert_eq!(repeated.0[field], found.0[field], "{field}: {run}\n{again}");
        }
        let replay = Run::of(&mut elsewhere(world, &repeated.trace().expect("a trace"))).expect(0);
        assert!(replay.text().contains(&format!("test {failing} ... FAILED")), "{replay}");
    }
}

fn what_a_distant_test_leaves_behind_is_met(world: &Harness) {
    find(world, "leaves_behind", "a_number_has_a_point", |found, _| {
        // It failed because this one was run, too.
        assert!(texts(&found.0["order"]["tests"]).contains(&"z_germans_have_a_comma"), "{found:?}");
    });
}

fn what_a_distant_test_does_first_is_missed(world: &Harness) {
    find(world, "needs", "z_reports_have_a_title", |found, ended| {
        assert!(ended.contains(&"z_reports_have_a_title"), "{found:?}");
    });
}

fn a_plain_schedule_has_the_usual_order(world: &Harness) {
    for binary in ["leaves_behind", "needs"] {
        let traces = world.dir();
        let run = Run::of(&mut together(
            world,
            traces.path(),
            binary,
            &["--no-chaos", "--runs", "40", "--seed", "1"],
        ))
        .expect(0);
        let report = Report::of(&run);
        assert_eq!((report.attempts.len(), report.failing().count()), (40, 0), "{run}");
    }
}

fn tests_that_are_right_in_any_order_pass(world: &Harness) {
    let runs = std::env::var("RRTEST_STEADY_RUNS").unwrap_or_else(|_| "50".to_owned());
    let traces = world.dir();
    let run = Run::of(&mut together(world, traces.path(), "sound", &["--runs", &runs])).expect(0);
    assert_eq!(Report::of(&run).attempts.len(), runs.parse::<usize>().expect("a number"), "{run}");
}

fn a_needy_test_is_told(world: &Harness) {
    // Alone it fails under any schedule: under a plain one, and under the one of a single attempt.
    for how in [["--no-chaos", "--runs=2"], ["--runs=1", "--strategy=pct"]] {
        let traces = world.dir();
        let junit = traces.path().join("report.xml");
        let mut command = world.fixture("test-order", traces.path());
        command.args(["--preempt", "sync", "--test", "needs", "z_reports", "--junit"]).arg(&junit).args(how);
        let run = Run::of(&mut command).expect(101).says(&[SENTENCE]);
        assert_eq!(run.stderr.matches(SENTENCE).count(), 1, "{run}");
        let report = Report::of(&run);
        let told = report.failing().filter(|attempt| attempt.0.get("passes_together") == Some(&true.into()));
        assert_eq!(told.count(), 1, "once a test: {run}");
        let junit = std::fs::read_to_string(junit).expect("a report");
        assert!(junit.contains(SENTENCE), "{junit}");
    }
}

fn others_are_not_told_to_be_needy(world: &Harness) {
    let project = Project::new(
        world,
        &[
            ("tests/single.rs", "#[test] fn bad() { panic!(\"so be it\") }"),
            ("tests/two.rs", "#[test] fn bad() { panic!(\"so be it\") }\n#[test] fn good() {}"),
        ],
    );
    let run = Run::of(&mut project.rrtest(world, &["--message-format", "json", "--no-chaos"])).expect(101);
    let report = Report::of(&run);
    assert_eq!(report.failing().count(), 2, "{run}");
    assert!(report.attempts.iter().all(|attempt| attempt.0.get("passes_together").is_none()), "{run}");
    assert!(!run.stderr.contains(SENTENCE), "{run}");
}
