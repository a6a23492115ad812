//! What GitHub Actions is told: annotations, a summary, outputs, and nothing that a test has made up.

use std::fs;
use std::path::Path;
use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;
use tempfile::TempDir;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_failure_is_told_where_it_belongs,
    a_test_cannot_give_orders,
    many_failures_keep_within_the_limits,
    nobody_is_told_where_nobody_asked,
];

/// GitHub shows no summary that is longer, and no more annotations of a step.
const MOST_SUMMARY: u64 = 1 << 20;
const MOST_ANNOTATIONS: usize = 10;

/// A crate in a folder of a repository.
fn repository(world: &Harness, source: &str) -> (Project, TempDir) {
    let manifest = "[package]\nname = 'p'\nversion = '1.2.3'\nedition = '2024'\n[workspace]\n";
    let files = [("crate/Cargo.toml", manifest), ("crate/src/lib.rs", ""), ("crate/tests/it.rs", source)];
    (Project::new(world, &files), world.dir())
}

/// Runs the tool in that folder as a runner would, which has its files in `told`.
fn run(world: &Harness, project: &Project, told: &Path, args: &[&str]) -> Run {
    Run::of(&mut command(world, project, told, args))
}

fn command(world: &Harness, project: &Project, told: &Path, args: &[&str]) -> Command {
    let mut command = world.tool.cargo(&project.path().join("crate"));
    command
        .args(args)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", project.path())
        .env("GITHUB_REPOSITORY", "owner/name")
        .env("GITHUB_RUN_ID", "42")
        .env("GITHUB_STEP_SUMMARY", told.join("summary"))
        .env("GITHUB_OUTPUT", told.join("output"));
    command
}

/// The workflow commands that a runner would take from a log.
pub(super) fn orders(log: &str) -> Vec<String> {
    let mut stopped: Option<String> = None;
    let mut orders = Vec::new();
    for line in log.lines().map(str::trim_start) {
        match &stopped {
            Some(token) => {
                if line == format!("::{token}::") {
                    stopped = None;
                }
            }
            None => match line.strip_prefix("::stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                // The old form counts wherever it is in a line.
                None if line.starts_with("::") || line.contains("##[") => orders.push(line.to_owned()),
                None => {}
            },
        }
    }
    assert!(stopped.is_none(), "commands are still stopped at the end: {log}");
    orders
}

fn a_failure_is_told_where_it_belongs(world: &Harness) {
    let source = "#[test]\nfn bad() {\n    assert_eq!(1, 2, \"50%, or: so\");\n}\n#[test]\nfn good() {}\n";
    let (project, told) = repository(world, source);
    fs::write(told.path().join("summary"), "# Before\n").expect("a file");
    let run = run(world, &project, told.path(), &["--runs", "2", "-j1"]).expect(101);
    let orders = orders(&run.stderr);
    let [order] = &orders[..] else { panic!("one order: {run}") };
    let start = "::error file=crate/tests/it.rs,line=3,title=p%3A%3Ait bad%3A failed::assertion `left == right` failed: 50%25, or: \
                 so%0A  left: 1%0A right: 2%0Afailed in 2 of 2 attempts%0Areplay: cargo rrtest replay gh:owner/name/42 ";
    let name = order.strip_prefix(start).unwrap_or_else(|| panic!("{order}"));
    let summary = fs::read_to_string(told.path().join("summary")).expect("a summary");
    for text in [
        "# Before\n## cargo rrtest: 2 of 4 attempts failed, of 2 tests",
        "| `p::it bad` | failed | 2 of 2 (100 %) | `crate/tests/it.rs:3` |",
        &format!("```sh\ncargo rrtest replay gh:owner/name/42 {name}\n```"),
        "assertion `left == right` failed: 50%, or: so\n  left: 1",
        "<details><summary>The end of its output</summary>",
    ] {
        assert!(summary.contains(text), "no `{text}`: {summary}");
    }
    let output = fs::read_to_string(told.path().join("output")).expect("outputs");
    let trace =
        rrtest_tests::traces(&project.path().join("crate/target/rrtest/traces")).pop().expect("a trace");
    let seed = run.stderr.split("seed ").nth(2).and_then(|rest| rest.split(',').next()).expect("a seed");
    assert_eq!(output, format!("failed=1\ntraces={}\nseed={seed}\n", trace.display()), "{run}");
    assert_eq!(trace.file_stem().and_then(|stem| stem.to_str()), Some(name));
}

fn a_test_cannot_give_orders(world: &Harness) {
    let source = r###"
        #[test] fn bad() {
            println!("::error::made up");
            println!("  ::set-output name=x::y");
            println!("look: ##[error]made up, too");
            eprintln!("::stop-commands::mine\n::mine::");
            panic!("::warning::and this\n::error::as well");
        }
    "###;
    let (project, told) = repository(world, source);
    let run = run(world, &project, told.path(), &[]).expect(101);
    assert!(run.stderr.contains("made up, too"), "{run}");
    let orders = orders(&run.stderr);
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert!(orders[0].starts_with("::error file=crate/tests/it.rs,line=7,"), "{orders:?}");
}

fn many_failures_keep_within_the_limits(world: &Harness) {
    let tests = (0..60).map(|number| {
        format!("#[test] fn t{number}() {{ println!(\"{{}}\", \"line {number}\\n\".repeat(4000)); panic!(\"{{}}\", \"x\".repeat(9000)) }}\n")
    });
    let (project, told) = repository(world, &tests.collect::<String>());
    let run = run(world, &project, told.path(), &["--quiet"]).expect(101);
    let orders = orders(&run.stderr);
    assert_eq!(orders.len(), MOST_ANNOTATIONS, "{orders:?}");
    assert!(orders[9].contains("51 more tests failed"), "{orders:?}");
    let length = told.path().join("summary").metadata().expect("a summary").len();
    assert!(length <= MOST_SUMMARY, "{length}");
    let summary = fs::read_to_string(told.path().join("summary")).expect("text");
    assert_eq!(summary.matches("### `p::it t").count(), 60, "all are told");
    let output = fs::read_to_string(told.path().join("output")).expect("outputs");
    assert!(output.starts_with("failed=60\ntraces<<"), "{output}");
    let traces = rrtest_tests::traces(&project.path().join("crate/target/rrtest/traces"));
    let size: u64 = traces.iter().map(|trace| trace.metadata().expect("a trace").len()).sum();
    println!("60 failures: traces {size} bytes, summary {length} bytes");
    assert_eq!(traces.len(), 60);
    assert!(size < 12 << 20, "{size}");
}

fn nobody_is_told_where_nobody_asked(world: &Harness) {
    let (project, told) = repository(world, "#[test] fn bad() { panic!() }");
    let mut unset = command(world, &project, told.path(), &[]);
    unset.env("GITHUB_ACTIONS", "false");
    let run = Run::of(&mut unset).expect(101);
    assert!(!run.stderr.lines().any(|line| line.starts_with("::")), "{run}");
    assert_eq!(fs::read_dir(told.path()).expect("a directory").count(), 0);
    // Programs get no lines but their own on standard output; the runner is told all the same.
    let run = self::run(world, &project, told.path(), &["--message-format", "json"]).expect(101);
    assert!(run.text().lines().all(|line| line.starts_with('{')), "{run}");
    assert_eq!(orders(&run.stderr).len(), 1, "{run}");
    let output = fs::read_to_string(told.path().join("output")).expect("outputs");
    assert!(output.contains("failed=1") && output.contains(".rrtrace"), "{output}");
    // A file that cannot be written is named, and what was found stays found.
    let mut refused = command(world, &project, told.path(), &[]);
    refused.env("GITHUB_STEP_SUMMARY", told.path().join("no/such"));
    let _run = Run::of(&mut refused).expect(101).says(&["cannot write to", "no/such"]);
}
