//! What a trace does not disclose.

use std::os::unix::fs::PermissionsExt;

use rrtest_engine::trace::{Source, Trace};
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![secrets_stay_out_of_traces, a_trace_is_its_owners];

/// Fails, and says what it has got of the environment.
const TEST: &str = r#"
#[test]
fn fails() {
    for name in ["MY_SECRET_TOKEN", "DATABASE", "HARMLESS"] {
        println!("{name}={:?}", std::env::var(name).ok());
    }
    panic!();
}
"#;

const SECRET: &str = "dont-look-at-me-7391";

fn secrets_stay_out_of_traces(world: &Harness) {
    let project = Project::of_test(world, TEST);
    let run = |args: &[&str], says: &[&str]| {
        let traces = world.dir();
        let _run = Run::of(
            project
                .rrtest(world, &["--no-chaos", "--trace-dir"])
                .arg(traces.path())
                .args(args)
                .env("MY_SECRET_TOKEN", SECRET)
                .env("DATABASE", format!("postgres://me:{SECRET}@localhost/db"))
                .env("HARMLESS", "harmless"),
        )
        .expect(101)
        .says(says);
        let path = rrtest_tests::traces(traces.path()).pop().expect("a trace");
        discloses(&Trace::open(&path).expect("a trace"), SECRET)
    };
    let kept = "kept from the tests, since traces hold their environment: DATABASE";
    let disclosed =
        run(&[], &[kept, "DATABASE, MY_SECRET_TOKEN", "MY_SECRET_TOKEN=None", "HARMLESS=Some(\"harmless\")"]);
    assert!(!disclosed);
    // What the test gets does stand in the trace: the search finds it.
    let passed = ["--pass-env", "my_secret_token", "--hide-env", "HARM*"];
    assert!(run(&passed, &[kept, "DATABASE, HARMLESS", SECRET, "HARMLESS=None"]));
}

/// Whether these bytes stand in the head or the events of a trace.
fn discloses(trace: &Trace, text: &str) -> bool {
    // Bytes are numbers in JSON.
    let numbers = text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(",");
    let has = |json: serde_json::Result<String>| {
        let json = json.expect("JSON");
        json.contains(text) || json.contains(&numbers)
    };
    trace.events().any(|event| has(serde_json::to_string(&event.expect("an event"))))
        || has(serde_json::to_string(trace.program()))
        || has(serde_json::to_string(trace.info()))
}

fn a_trace_is_its_owners(world: &Harness) {
    let project = Project::of_test(world, TEST);
    let _run = Run::of(&mut project.rrtest(world, &["--no-chaos"])).expect(101);
    let path = project.traces().pop().expect("a trace");
    assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
}
