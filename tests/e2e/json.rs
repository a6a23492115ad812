//! Reports: JSON on standard output and nothing else there, all else on standard error.

use std::path::Path;

use rrtest_engine::schedule::StrategyName;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    has_the_promised_fields,
    each_line_is_as_the_schema_says,
    people_read_standard_error,
    junit_is_written
];

const TWO: &str = "
#[test]
fn good() { println!(\"{{\\\"event\\\":\\\"mine\\\"}}\") }
#[test]
fn bad() { println!(\"{{}}\"); panic!(\"so be it\") }
";

fn has_the_promised_fields(world: &Harness) {
    let project = Project::of_test(world, TWO);
    // The report checks the names of the fields.
    let mut report = project.report(world, &["--runs", "2", "--seed", "0x9", "-j1"], 101);
    // Which test is next hangs on how long their attempts took.
    report.attempts.sort_by_key(|attempt| (attempt.text("test").to_owned(), attempt.number("attempt")));
    let shown: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            let fields = [
                attempt.text("package"),
                attempt.text("binary"),
                attempt.text("test"),
                attempt.text("outcome"),
            ];
            (fields, attempt.number("attempt"), attempt.0["exit_code"].as_u64())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (["p", "p::it", "bad", "failed"], 1, Some(101)),
            (["p", "p::it", "bad", "failed"], 2, Some(101)),
            (["p", "p::it", "good", "passed"], 1, Some(0)),
            (["p", "p::it", "good", "passed"], 2, Some(0)),
        ]
    );
    assert_eq!(report.attempts[0].text("seed"), "0x0000000000000009");
    for attempt in &report.attempts {
        assert!(attempt.0["signal"].is_null() && attempt.0["wall_ms"].is_f64());
        assert!(attempt.number("ticks") > 0);
        assert!(attempt.text("strategy").parse::<StrategyName>().is_ok(), "{attempt:?}");
    }
    // The second failure is the first one again.
    assert_eq!(report.traces().len(), 1);
    assert!(report.attempts[1].0["trace"].is_null() && report.attempts[1].0["verified"].is_null());
    let summary = (&report.summary["attempts"], &report.summary["tests"], &report.summary["failed"]);
    assert_eq!(summary, (&4.into(), &2.into(), &serde_json::json!(["p::it bad"])));
}

/// One of each: passed, failed, deadlocked, ignored.
const MANY: &str = "
use std::sync::Mutex;
#[test]
fn good() {}
#[test]
fn bad() { println!(\"{}\", \"long \".repeat(20_000)); assert_eq!(1, 2, \"so be it\") }
#[test]
fn stuck() { let mutex = Mutex::new(0); let _guard = mutex.lock().unwrap(); drop(mutex.lock()); }
#[test] #[ignore]
fn left_out() {}
";

/// What docs/report.schema.json has against a line.
pub(crate) fn mistakes(line: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema()).expect("a schema");
    validator.iter_errors(line).map(|error| error.to_string()).collect()
}

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("report.schema.json");
    serde_json::from_slice(&std::fs::read(path).expect("the schema")).expect("json")
}

fn each_line_is_as_the_schema_says(world: &Harness) {
    let project = Project::of_test(world, MANY);
    let schema = schema();
    let runs: [&[&str]; 4] = [
        &["--runs", "2", "-j1"],
        &["--together", "--timeout", "5s", "good", "--", "bad"],
        &["--strategy", "systematic", "--bound", "0", "good"],
        &["--strategy", "guided", "--runs", "2", "good"],
    ];
    let mut seen = Vec::new();
    for args in runs {
        let run = Run::of(project.rrtest(world, &["--message-format", "json"]).args(args));
        for line in run.text().lines() {
            let line: Value = serde_json::from_str(line).expect("json");
            assert_eq!(mistakes(&line), [""; 0], "{line}");
            let event = line["event"].as_str().expect("an event").to_owned();
            for (field, value) in line.as_object().expect("an object") {
                // What is not described may have any value.
                assert!(
                    schema["$defs"][&event]["properties"].get(field).is_some(),
                    "{event}.{field} = {value}"
                );
                seen.push(format!("{event}.{field}"));
            }
        }
    }
    for field in [
        "attempt.panic",
        "attempt.repeats",
        "attempt.output",
        "attempt.waits",
        "test.rate",
        "summary.explored",
        "summary.covered",
    ] {
        assert!(seen.iter().any(|known| known == field), "{field} does not occur");
    }
    let report = project.report(world, &["--runs", "2", "-j1"], 101);
    let bad = report.failing().find(|attempt| attempt.text("test") == "bad").expect("it fails");
    assert_eq!((&bad.0["panic"]["file"], &bad.0["panic"]["line"]), (&"tests/it.rs".into(), &6.into()));
    assert!(
        bad.0["panic"]["message"].as_str().expect("a text").contains("so be it\n  left: 1\n right: 2"),
        "{bad:?}"
    );
    assert!(bad.0["output"]["left_out"].as_u64() > Some(60_000), "{bad:?}");
    let standing = |test: &str| {
        let line = report.standings.iter().find(|line| line["test"] == test).expect("a line");
        (
            line["standing"].as_str().expect("a text").to_owned(),
            line["attempts"].as_u64(),
            line["rate"].as_f64(),
        )
    };
    assert_eq!(standing("good"), ("passed".into(), Some(2), Some(0.0)));
    assert_eq!(standing("bad"), ("failed".into(), Some(2), Some(1.0)));
    assert_eq!(standing("left_out"), ("ignored".into(), Some(0), None));
}

fn people_read_standard_error(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let run = Run::of(&mut project.rrtest(world, &[])).expect(101);
    assert_eq!(run.text(), "", "{run}");
    let _run = run.says(&[
        "PASS",
        "p::it good",
        "FAIL",
        "p::it bad",
        "so be it",
        "(verified)",
        "cargo rrtest replay",
    ]);
}

fn junit_is_written(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let _run = Run::of(&mut project.rrtest(world, &["--junit", "out/report.xml", "--runs", "2"])).expect(101);
    let report = std::fs::read_to_string(project.path().join("out/report.xml")).expect("a report");
    for text in [
        "<testsuites",
        "tests=\"2\"",
        "failures=\"1\"",
        "good",
        "bad",
        "so be it",
        "<rerunFailure ",
        "name=\"seed\"",
        "name=\"trace\"",
    ] {
        assert!(report.contains(text), "{text} is missing in {report}");
    }
}
