//! Failing schedules as committed text, which each run tries first.

use std::fs;
use std::path::PathBuf;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::LONG_ENOUGH;
use rrtest_tests::tool::Run;
use serde_json::Value;

use crate::json::mistakes;
use crate::verify::{self, FIXED, TORN, explained};
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_pinned_failure_fails_where_lines_have_moved_and_passes_once_it_is_mended,
    a_place_or_a_test_that_is_gone_is_told_with_what_to_do,
    a_file_that_is_no_pin_is_an_error_of_the_user,
    what_cannot_be_pinned_says_why,
    a_pin_of_another_build_says_what_it_takes,
    pins_of_tests_that_are_not_asked_for_are_left_alone
];

/// Two threads add 1 in this way, after some work. Another test has nothing to do with it.
fn adding(before: &str, add: &str) -> String {
    verify::adding(before, add) + "\n#[test]\nfn other() {}"
}

/// A schedule that finds nothing by itself: what fails is the pin.
const BLIND: &[&str] = &["--strategy", "systematic", "--bound", "0"];

fn pin(world: &Harness, project: &Project, code: i32) -> Run {
    Run::of(&mut project.rrtest(world, &["pin"])).expect(code)
}

/// A project whose failure is pinned.
fn pinned(world: &Harness) -> Project {
    let project = explained(world, &adding("", TORN));
    let run = pin(world, &project, 0);
    assert!(run.stderr.contains("Pinned p::it adds: rrtest-pins/adds-"), "{run}");
    project
}

/// The project's pins.
fn files(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.path().join("rrtest-pins")).expect("pins");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// All tests are run, by schedules that find nothing.
fn run(world: &Harness, project: &Project, code: i32) -> Run {
    Run::of(&mut project.rrtest(world, BLIND)).expect(code)
}

fn a_pinned_failure_fails_where_lines_have_moved_and_passes_once_it_is_mended(world: &Harness) {
    let project = pinned(world);
    let [file] = &files(&project)[..] else { panic!("one failure, one file") };
    let text = fs::read_to_string(file).expect("a text");
    for part in [
        "version = 1",
        "test = \"adds\"",
        "SUM.store(sum + 1, SeqCst);",
        "panicked at tests/it.rs:",
        "delete",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let again = pin(world, &project, 0);
    assert!(again.stderr.contains("(already)"), "{again}");
    assert_eq!(fs::read_to_string(file).expect("a text"), text, "to pin it twice changes nothing");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let fails = |what: &str| {
        let run = run(world, &project, 101);
        assert!(run.stderr.contains(&format!("pinned rrtest-pins/{name}")), "{what}: {run}");
        assert!(run.stderr.contains("Pins 1 fails") && !run.stderr.contains("is gone"), "{what}: {run}");
    };
    fails("nothing has changed");
    project.write("tests/it.rs", &adding("// New.\n// Lines.\nfn _other() {}", TORN));
    fails("lines have moved");
    // More is done before it.
    project
        .write("tests/it.rs", &adding("", &format!("for _ in 0..30 {{ WORK.load(SeqCst); }}\n    {TORN}")));
    fails("operations have moved");
    // It is a failure as any other.
    let junit = project.path().join("junit.xml");
    let args = [BLIND, &["--junit", junit.to_str().expect("a text"), "--explain", LONG_ENOUGH]].concat();
    let report = project.report(world, &args, 101);
    let failing: Vec<_> = report.failing().collect();
    let [attempt] = &failing[..] else { panic!("{report:?}") };
    assert_eq!((attempt.text("test"), attempt.number("attempt")), ("adds", 0));
    assert_eq!(attempt.text("pinned"), format!("rrtest-pins/{name}"));
    let trace = attempt.trace().expect("it is kept");
    let replayed = Run::of(world.tool.cargo(project.path()).arg("replay").arg(&trace)).expect(0);
    let _replayed =
        replayed.says(&["as recorded", "Explained when it was recorded", "needs 1 preemption of 1"]);
    assert_eq!(report.explanations.len(), 1, "{report:?}");
    let [line] = &report.pins[..] else { panic!("{report:?}") };
    for line in [line, &attempt.0, &report.explanations[0]] {
        assert_eq!(mistakes(&Value::Object(line.clone())), [""; 0], "{line:?}");
    }
    assert_eq!((&line["holds"], &line["gone"]), (&false.into(), &serde_json::json!([])));
    let junit = fs::read_to_string(junit).expect("a report");
    assert!(junit.contains(&format!("pinned: rrtest-pins/{name}")), "{junit}");
    // The next one that is found in the same place is the same one.
    let _run = pin(world, &project, 0).says(&["(already)"]);
    project.write("tests/it.rs", &adding("", FIXED));
    let fixed = run(world, &project, 0);
    assert!(fixed.stderr.contains("Pins 1 holds") && !fixed.stderr.contains("warning"), "{fixed}");
}

fn a_place_or_a_test_that_is_gone_is_told_with_what_to_do(world: &Harness) {
    let project = pinned(world);
    let renamed = adding("", FIXED).replace("fn add()", "fn plus()").replace("(add)", "(plus)");
    project.write("tests/it.rs", &renamed);
    let gone = run(world, &project, 0).says(&[
        "warning: rrtest-pins/adds-",
        "the place of its preemption is gone, in it::add at tests/it.rs:",
        "pin the failure again if there is one, and delete the file",
        "Pins 1 says nothing",
    ]);
    assert!(!gone.stderr.contains("holds"), "{gone}");
    let report = project.report(world, BLIND, 0);
    assert!(report.pins[0]["holds"].is_null() && !report.pins[0]["gone"].is_null(), "{report:?}");
    project.write("tests/it.rs", &renamed.replace("fn adds()", "fn sums()"));
    let _run =
        run(world, &project, 0).says(&["there is no test `adds` in p::it any more", "delete the file"]);
    fs::remove_file(project.path().join("tests/it.rs")).expect("a file");
    project.write("tests/of.rs", &adding("", FIXED));
    let _run = run(world, &project, 0).says(&["there is no test `adds` in p::it any more"]);
}

fn a_file_that_is_no_pin_is_an_error_of_the_user(world: &Harness) {
    let project = pinned(world);
    let [file] = &files(&project)[..] else { panic!("one failure, one file") };
    let text = fs::read_to_string(file).expect("a text");
    for (wrong, why) in [
        (text.replace("version = 1", "version = 9"), "version 9 of the format"),
        (text.replace("[[schedule.switches]]", "[[schedule.switches"), "TOML parse error at line"),
        (text.replace("ticks = ", "ticks = -"), "invalid value"),
        ("<<<<<<< ours\n".to_owned(), "TOML parse error"),
        (String::new(), "missing field `version`"),
    ] {
        fs::write(file, wrong).expect("a file");
        let run = run(world, &project, 2);
        assert!(run.stderr.contains("is no pin: ") && run.stderr.contains(why), "{why}: {run}");
        assert!(run.stderr.contains("rrtest-pins/adds-") && run.stderr.contains("delete it"), "{run}");
    }
    // Whoever is asked to write over it does not.
    let _run = pin(world, &project, 2).says(&["is no pin"]);
    // A task that there is not, and a place beyond everything, are no reason for anything.
    let far = text.replace("to = ", "to = 9").replace("ticks = ", "ticks = 99999999");
    fs::write(file, far.replace("\"it::add\"", "\"it::subtract\"")).expect("a file");
    let _run = run(world, &project, 0).says(&["is gone"]);
}

fn what_cannot_be_pinned_says_why(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn bad() { panic!() }");
    let _report = project.report(world, &["--explain", "never"], 101);
    let _run = pin(world, &project, 2).says(&[
        "does not say what its failure needs",
        "--until-fail",
        "--explain 20s",
    ]);
    let _report = project.report(world, &["--explain", LONG_ENOUGH], 101);
    let _run = pin(world, &project, 2).says(&["it fails under every schedule"]);
    assert!(!project.path().join("rrtest-pins").exists());
    let elsewhere = explained(world, &adding("", TORN));
    let trace = elsewhere.traces().remove(0);
    let other =
        Project::new(world, &[("Cargo.toml", "[package]\nname = 'q'\nedition = '2024'\n[workspace]\n")]);
    let run = Run::of(other.rrtest(world, &["pin"]).arg(trace)).expect(2);
    assert!(run.stderr.contains("package `p`, which is not in this workspace"), "{run}");
}

fn a_pin_of_another_build_says_what_it_takes(world: &Harness) {
    let project = pinned(world);
    for file in files(&project) {
        let text =
            fs::read_to_string(&file).expect("a text").replace("preempt = \"sync\"", "preempt = \"memory\"");
        fs::write(file, text).expect("a file");
    }
    let run = run(world, &project, 0).says(&["is not tried: that takes --preempt memory"]);
    assert!(!run.stderr.contains("Pins"), "{run}");
    let together = Run::of(&mut project.rrtest(world, &["--together", "--no-chaos"])).expect(0);
    assert!(!together.stderr.contains("rrtest-pins"), "without chaos there is no preemption: {together}");
}

fn pins_of_tests_that_are_not_asked_for_are_left_alone(world: &Harness) {
    let project = pinned(world);
    let run = Run::of(project.rrtest(world, BLIND).arg("other")).expect(0);
    assert!(!run.stderr.contains("rrtest-pins") && !run.stderr.contains("Pins"), "{run}");
    let until_fail =
        Run::of(&mut project.rrtest(world, &["--until-fail", "--runs", "50", "-j1"])).expect(101);
    assert!(
        until_fail.stderr.contains("1 failed") && until_fail.stderr.contains("pinned rrtest-pins/"),
        "{until_fail}"
    );
}
