//! Time that is not enough for all tests, machines that share them, and settings that say so.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rrtest_engine::trace::Trace;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;
use serde_json::json;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    tests_that_never_ran_are_named,
    a_deadline_counts_the_build,
    partitions_have_all_tests_between_them,
    shards_make_different_attempts_and_are_merged,
    a_build_that_fails_is_an_event,
    files_and_the_environment_set_options,
    mistakes_in_files_are_wrong_usage,
    tests_have_settings_of_their_own,
    filter_expressions_choose_tests,
    the_store_stays_within_its_limit,
];

/// More tests than any machine can start in a second, one after the other.
const MANY: usize = 1500;

fn tests_that_never_ran_are_named(world: &Harness) {
    let source: String = (0..MANY).map(|number| format!("#[test] fn t{number:04}() {{}}\n")).collect();
    let project = Project::of_test(world, &source);
    let run = |ci: Option<&str>, args: &[&str], code| {
        let mut command = project.rrtest(world, &["-j1", "--for", "1s", "--preempt", "sync", "--no-chaos"]);
        command.args(args).envs(ci.map(|value| ("CI", value)));
        // Other campaigns on the machine keep first attempts waiting now and then, and second ones are made meanwhile.
        command.env("TMPDIR", project.path());
        Run::of(&mut command).expect(code)
    };
    let _ci = run(Some("true"), &[], 5).says(&[
        "   never ran p::it t",
        " more, which --verbose",
        "--never-ran warn",
    ]);
    let _warned = run(Some("true"), &["--never-ran", "warn"], 0).says(&["   never ran p::it t"]);
    let _local = run(None, &[], 0).says(&["   never ran p::it t"]);
    let _all = run(None, &["--never-ran", "fail", "-v"], 5).says(&["never ran p::it t1499\n"]);
    let silent = run(Some("true"), &["--never-ran", "pass"], 0);
    assert!(!silent.stderr.contains("never ran"), "{silent}");
    let report = Report::of(&run(Some("true"), &["--message-format", "json"], 5));
    let never = report.summary["never_ran"].as_array().expect("names");
    assert!(never.contains(&json!("p::it t1499")) && report.summary["exit_code"] == 5, "{report:?}");
    // No test has a second attempt while others wait for their first.
    assert!(report.attempts.iter().all(|attempt| attempt.number("attempt") == 1), "{report:?}");
    assert_eq!(report.attempts.len() + never.len(), MANY);
}

fn a_deadline_counts_the_build(world: &Harness) {
    // It builds for a while: long enough for any deadline that is over before.
    let project = Project::new(
        world,
        &[
            ("build.rs", "fn main() { std::thread::sleep(std::time::Duration::from_secs(3600)) }"),
            ("tests/it.rs", "#[test]\nfn t() {}"),
        ],
    );
    let options = ["--deadline", "2s", "--never-ran", "fail", "--message-format", "json"];
    let run =
        Run::of(&mut project.rrtest(world, &options)).expect(5).says(&["no test ran: the build took all"]);
    assert!(run.text().starts_with("{\"event\":\"not_built\",\"reason\":\"deadline\""), "{run}");
    let _warned = Run::of(&mut project.rrtest(world, &["--deadline", "1s", "--never-ran", "warn"]))
        .expect(0)
        .says(&["warning: no test ran"]);
}

/// Each attempt of a report, as test and seed.
fn attempts(report: &Report) -> Vec<(String, String)> {
    let name = |field: &str, attempt: &rrtest_tests::report::Attempt| attempt.text(field).to_owned();
    report.attempts.iter().map(|attempt| (name("test", attempt), name("seed", attempt))).collect()
}

fn partitions_have_all_tests_between_them(world: &Harness) {
    let source: String = (0..20).map(|number| format!("#[test] fn t{number}() {{}}\n")).collect();
    let project = Project::of_test(world, &source);
    for kind in ["hash", "slice"] {
        let mut all = Vec::new();
        for part in 1..=4 {
            let partition = format!("{kind}:{part}/4");
            let report = project.report(world, &["--partition", &partition], 0);
            all.extend(report.attempts.iter().map(|attempt| attempt.text("test").to_owned()));
        }
        all.sort_unstable();
        let mut expected: Vec<_> = (0..20).map(|number| format!("t{number}")).collect();
        expected.sort_unstable();
        assert_eq!(all, expected, "{kind}");
    }
    let mut empty = project.rrtest(world, &["--partition", "slice:2/2", "t7"]);
    let _empty = Run::of(&mut empty).expect(0).says(&["none of 1 test is in this partition"]);
}

fn shards_make_different_attempts_and_are_merged(world: &Harness) {
    let source = "#[test] fn good() {}\n#[test] fn bad() { panic!(\"on purpose\") }";
    let project = Project::of_test(world, source);
    let mut all = Vec::new();
    let mut files = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let options =
            ["--runs", "9", "--seed", "7", "--preempt", "sync", "--message-format", "json", "--shard"];
        let run = Run::of(project.rrtest(world, &options).arg(shard)).expect(101);
        let file = format!("{}.json", files.len());
        project.write(&file, &run.text());
        files.push(file);
        let report = Report::of(&run);
        assert_eq!(report.attempts.len(), 6, "{run}");
        all.extend(attempts(&report));
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 18, "no attempt is made twice");
    let merged = Run::of(project.rrtest(world, &["merge"]).args(&files)).expect(101).says(&[
        "3 runs: 18 attempts of 2 tests, 1 test failed",
        "failed p::it bad: 9 of 9 attempts (100.0%)",
    ]);
    assert!(merged.stdout.is_empty(), "{merged}");
    let run = Run::of(project.rrtest(world, &["merge", "--message-format", "json"]).args(&files)).expect(101);
    let line: serde_json::Value = serde_json::from_str(&run.text()).expect("a line");
    assert_eq!((&line["tests"]["p::it bad"]["failed"], &line["runs"]), (&json!(9), &json!(3)));
    let _wrong = Run::of(&mut project.rrtest(world, &["--shard", "1/3"])).expect(2).says(&["--runs N"]);
}

fn a_build_that_fails_is_an_event(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn wrong() { let () = 1; }");
    let run = Run::of(&mut project.rrtest(world, &["--message-format", "json"])).expect(101);
    let line: serde_json::Value = serde_json::from_str(&run.text()).expect("a line");
    assert_eq!((&line["event"], &line["reason"]), (&json!("not_built"), &json!("failed")));
    assert!(run.stderr.ends_with("error: the tests could not be built, so none ran\n"), "{run}");
}

fn files_and_the_environment_set_options(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn bad() { panic!(\"on purpose\") }");
    project.write(
        ".config/rrtest.toml",
        "[profile.default]\nruns = 3\ntrace-dir = 'kept'\n[profile.ci]\nruns = 5\njunit = 'reports/r.xml'\n",
    );
    let count = |args: &[&str], variable: Option<&str>| {
        let mut command = project.rrtest(world, &["--message-format", "json"]);
        command.args(args).envs(variable.map(|value| ("RRTEST_RUNS", value)));
        Report::of(&Run::of(&mut command).expect(101)).attempts.len()
    };
    assert_eq!(count(&[], None), 3);
    assert_eq!(count(&["-P", "ci"], None), 5);
    assert!(project.path().join("reports/r.xml").is_file());
    assert_eq!(count(&["-P", "ci"], Some("2")), 2);
    assert_eq!(count(&["--runs", "1"], Some("2")), 1);
    // Other commands look where traces are kept.
    assert!(!rrtest_tests::traces(&project.path().join("kept")).is_empty());
    let _listed = Run::of(&mut project.rrtest(world, &["ls"])).expect(0).says(&[]);
    assert!(Run::of(&mut project.rrtest(world, &["ls"])).expect(0).text().contains("p-it-bad"));
    let shown = Run::of(&mut project.rrtest(world, &["show-config", "-P", "ci"])).expect(0).text();
    assert!(shown.contains(".config/rrtest.toml:5 (profile.ci)"), "{shown}");
}

fn mistakes_in_files_are_wrong_usage(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn t() {}");
    project.write(".config/rrtest.toml", "[profile.default]\nruns = 1\ntimout = '1s'\n");
    let _typo = Run::of(&mut project.rrtest(world, &[])).expect(2).says(&[
        "error: .config/rrtest.toml:3: profile.default.timout: unknown setting; did you mean `timeout`?",
    ]);
    let _help = Run::of(&mut project.rrtest(world, &["--help"])).expect(0);
}

fn tests_have_settings_of_their_own(world: &Harness) {
    let source = "
        use std::time::Duration;
        fn alone(name: &str) {
            let path = format!(\"{name}.lock\");
            drop(std::fs::File::options().create_new(true).write(true).open(&path).expect(\"alone\"));
            std::thread::sleep(Duration::from_millis(20));
            std::fs::remove_file(path).unwrap();
        }
        #[test] fn sleeps() { std::thread::sleep(Duration::from_secs(3600)) }
        #[test] fn db_a() { alone(\"db\") }
        #[test] fn db_b() { alone(\"db\") }
    ";
    let project = Project::of_test(world, source);
    project.write(
        ".config/rrtest.toml",
        "[[profile.default.overrides]]\nfilter = 'test(=sleeps)'\ntimeout = '1s'\nstrategy = 'walk'\n\
         [[profile.default.overrides]]\nfilter = 'test(/^db/)'\nserial-group = 'db'\n",
    );
    let options = ["--runs", "3", "-j2", "--preempt", "sync", "--time", "real"];
    let report = project.report(world, &options, 101);
    let of = |name: &str| {
        let attempts = report.attempts.iter().filter(move |attempt| attempt.text("test") == name);
        attempts.map(|attempt| (attempt.text("outcome"), attempt.text("strategy"))).collect::<Vec<_>>()
    };
    assert_eq!(of("sleeps"), [("hung", "walk"); 3]);
    assert!(of("db_a").iter().chain(&of("db_b")).all(|(outcome, _)| *outcome == "passed"), "{report:?}");
    assert!(report.interferences.is_empty(), "{report:?}");
}

fn filter_expressions_choose_tests(world: &Harness) {
    let project = Project::new(
        world,
        &[
            ("src/lib.rs", "#[test] fn one() {}\n#[test] fn two() {}"),
            ("tests/it.rs", "#[test] fn one() {}\n#[test] fn two() {}"),
        ],
    );
    let tests = |args: &[&str]| project.report(world, args, 0).tests();
    assert_eq!(tests(&["-E", "test(one) & kind(lib)"]), ["p one"]);
    assert_eq!(tests(&["-E", "kind(lib)", "-E", "test(=two)"]), ["p one", "p two", "p::it two"]);
    assert_eq!(tests(&["-E", "binary_id(p::it)", "two"]), ["p::it two"]);
    let together = project.report(world, &["--together", "-E", "test(two)"], 0);
    let mut binaries: Vec<_> = together.attempts.iter().map(|attempt| attempt.text("binary")).collect();
    binaries.sort_unstable();
    assert_eq!(binaries, ["p", "p::it"]);
    let ticks = |args: &[&str]| project.report(world, args, 0).attempts[0].number("ticks");
    let (one, both) =
        (["--lib", "--together", "--no-chaos", "-E", "test(two)"], ["--lib", "--together", "--no-chaos"]);
    assert!(ticks(&one) < ticks(&both), "one of two tests");
    let _none = Run::of(&mut project.rrtest(world, &["-E", "none()"])).expect(4).says(&["no test matched"]);
}

fn traces_in(project: &Project) -> usize {
    rrtest_tests::traces(&project.path().join("target/rrtest/traces")).len()
}

fn the_store_stays_within_its_limit(world: &Harness) {
    let source = "#[test] fn a() {}\n#[test] fn b() {}";
    let project = Project::of_test(world, source);
    let keep = ["--runs", "3", "--keep", "always", "--preempt", "sync"];
    let _all = Run::of(&mut project.rrtest(world, &keep)).expect(0);
    assert_eq!(traces_in(&project), 6);
    let all = newest_last(&project);
    // The newest of each test stays, and what that needs beside it.
    let newest = ["p-it-a-", "p-it-b-"].map(|part| {
        let of_test = |path: &&PathBuf| path.to_string_lossy().contains(part);
        all.iter().rfind(of_test).expect("a trace").clone()
    });
    let needed = |path: &PathBuf| {
        let beside = Trace::open(path).expect("a trace").beside().to_vec();
        beside.into_iter().map(|name| path.with_file_name(name)).collect::<Vec<_>>()
    };
    let stay: BTreeSet<PathBuf> = newest.iter().flat_map(needed).chain(newest.clone()).collect();
    let held = all.iter().find(|path| !stay.contains(*path)).expect("one that would go");
    let now = || newest_last(&project).into_iter().collect::<BTreeSet<_>>();
    let file = fs::File::open(held).expect("a trace");
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockSharedNonblock).expect("a lock");
    let _pruned = Run::of(&mut project.rrtest(world, &["--trace-limit", "0B"])).expect(0).says(&["Deleted"]);
    // The one that somebody reads stays, too, with what it needs.
    let read: BTreeSet<PathBuf> =
        [held.clone()].into_iter().chain(needed(held)).chain(stay.clone()).collect();
    assert_eq!(now(), read);
    drop(lock);
    let _pruned = Run::of(&mut project.rrtest(world, &["--trace-limit", "0B"])).expect(0);
    assert_eq!(now(), stay);
    for trace in newest_last(&project) {
        let _replayed = Run::of(project.rrtest(world, &["replay"]).arg(trace)).expect(0);
    }
}

fn newest_last(project: &Project) -> Vec<std::path::PathBuf> {
    let mut traces = rrtest_tests::traces(&project.path().join("target/rrtest/traces"));
    // Of those that are as new as each other the first by name counts as newer.
    traces.sort_by_key(|trace| (modified(trace), Reverse(trace.clone())));
    traces
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).expect("a time")
}
