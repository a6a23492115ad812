//! A trace replays: the same output and the same ending, from the file alone, and nothing else happens.

use std::fs;
use std::path::Path;
use std::process::Command;

use rrtest_engine::schedule::StrategyName;
use rrtest_tests::project::Project;
use rrtest_tests::races::RACES;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;
use rrtest_tests::{Harness, fixtures};

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    of_each_race_is_the_same_every_time,
    whatever_the_strategy_and_the_level,
    needs_neither_project_nor_data,
    of_a_hung_test_hangs_no_longer,
    repeats_what_the_program_wrote,
    changes_no_file,
    of_a_crashing_program,
    takes_the_newest_trace_or_a_part_of_a_name,
];

/// `cargo rrtest replay` of a file, from another directory and with nothing in the environment.
pub(crate) fn elsewhere(world: &Harness, trace: &Path) -> Command {
    let mut command = Command::new(&world.tool.path);
    command.args(["rrtest", "replay"]).arg(trace).current_dir("/").env_clear();
    command
}

/// All that a replay shows, but for our own line, which has the trace's path in it. Source files are named relative to
/// the working directory.
fn shown(run: &Run) -> (String, Vec<String>) {
    let root = format!("{}/", fixtures().display());
    let lines = run.stderr.lines().filter(|line| !line.contains("Replayed"));
    (run.text(), lines.map(|line| line.replace(&root, "")).collect())
}

fn of_each_race_is_the_same_every_time(world: &Harness) {
    for race in RACES {
        let traces = world.dir();
        let (attempt, found) = race.find(world, 3, traces.path());
        let trace = attempt.trace().expect("a trace");
        let here = Run::of(world.tool.cargo(traces.path()).arg("replay").arg(&trace)).expect(0);
        for _ in 0..3 {
            let there = Run::of(&mut elsewhere(world, &trace)).expect(0);
            assert_eq!(shown(&there), shown(&here));
        }
        // What the failing attempt showed, the replay shows.
        let ticks = format!("{} ticks", attempt.number("ticks"));
        let here = here.says(&[&ticks]);
        let (stdout, stderr) = shown(&here);
        let lines: Vec<_> = stdout.lines().chain(stderr.iter().map(String::as_str)).map(str::trim).collect();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            assert!(found.stderr.contains(line), "`{line}` was not shown by {found}");
        }
        assert!(lines.len() > 2, "{here}");
    }
}

/// Each trace that is kept has been replayed; one that diverges is an error of ours.
fn whatever_the_strategy_and_the_level(world: &Harness) {
    for strategy in StrategyName::ALL.map(StrategyName::as_str) {
        for level in ["sync", "memory"] {
            let traces = world.dir();
            let mut command = world.fixture("unsafe-race", traces.path());
            command.args(["--strategy", strategy, "--preempt", level, "--runs", "8", "--keep", "always"]);
            let run = Run::of(command.args(["--seed", "11"]));
            let report = Report::of(&run);
            assert!(report.attempts.iter().all(|attempt| attempt.text("outcome") != "error"), "{run}");
            assert!(!rrtest_tests::traces(traces.path()).is_empty(), "{run}");
        }
    }
}

fn needs_neither_project_nor_data(world: &Harness) {
    let project = Project::of_test(
        world,
        r#"
        #[test]
        fn reads() {
            let text = std::fs::read_to_string("data/some words.txt").unwrap();
            println!("read {} bytes, {:?}", text.len(), std::env::var("WHERE"));
            assert_eq!(text, "other words");
        }
        "#,
    );
    project.write("data/some words.txt", "words, words");
    let run = Run::of(project.rrtest(world, &["--message-format", "json"]).env("WHERE", "there")).expect(101);
    let trace = Report::of(&run).traces().pop().expect("a trace");
    let elsewhere_dir = world.dir();
    let moved = elsewhere_dir.path().join("ci artifact.rrtrace");
    fs::copy(trace, &moved).expect("a copy");
    drop(project);
    let run = Run::of(&mut elsewhere(world, &moved)).expect(0).says(&["words, words", "other words"]);
    assert!(run.text().contains("read 12 bytes, Ok(\"there\")"), "{run}");
}

fn of_a_hung_test_hangs_no_longer(world: &Harness) {
    let project = Project::of_test(
        world,
        "#[test]
        fn spins() {
            println!(\"spinning\");
            loop { std::hint::black_box(()); }
        }",
    );
    let report = project.report(world, &["--timeout", "5s"], 101);
    assert_eq!(report.attempts[0].text("outcome"), "hung");
    let run = Run::of(&mut elsewhere(world, &report.traces()[0])).expect(0);
    assert!(run.text().contains("spinning"), "{run}");
}

/// A program that writes to both streams, reads, and changes files in its working directory.
const BUSY: &str = r#"
use std::io::{Read, Write};
fn main() {
    std::fs::create_dir("made").unwrap();
    std::fs::write("made/file", "text").unwrap();
    std::fs::rename("made/file", "made/renamed").unwrap();
    std::fs::remove_file("doomed").unwrap();
    let mut old = std::fs::OpenOptions::new().append(true).open("log").unwrap();
    old.write_all(b"more\n").unwrap();
    let mut text = String::new();
    std::fs::File::open("made/renamed").unwrap().read_to_string(&mut text).unwrap();
    let worker = std::thread::spawn(move || text.len());
    println!("to stdout {}", worker.join().unwrap());
    eprint!("to stderr, no newline");
    std::process::exit(7);
}
"#;

/// Record [`BUSY`]; the trace and the directory it ran in.
fn busy(world: &Harness) -> (std::path::PathBuf, tempfile::TempDir, tempfile::TempDir) {
    let project = Project::new(world, &[("src/main.rs", BUSY)]);
    let program = project.program("p");
    let (cwd, traces) = (world.dir(), world.dir());
    fs::write(cwd.path().join("doomed"), "").expect("a file");
    fs::write(cwd.path().join("log"), "old\n").expect("a file");
    let mut command = world.tool.cargo(cwd.path());
    command.args(["exec", "--keep", "always", "--trace-dir"]).arg(traces.path()).arg("--").arg(program);
    let run = Run::of(&mut command).expect(7).says(&["to stderr, no newline", "(verified)"]);
    assert_eq!(run.text(), "to stdout 4\n", "{run}");
    assert_eq!(fs::read_to_string(cwd.path().join("log")).expect("a log"), "old\nmore\n");
    let trace = rrtest_tests::traces(traces.path()).pop().expect("a trace");
    (trace, cwd, traces)
}

fn repeats_what_the_program_wrote(world: &Harness) {
    let (trace, _cwd, _traces) = busy(world);
    for _ in 0..5 {
        let run = Run::of(&mut elsewhere(world, &trace)).expect(0).says(&["exit code 7"]);
        assert_eq!(run.text(), "to stdout 4\n", "{run}");
        assert!(run.stderr.starts_with("to stderr, no newline"), "{run}");
    }
}

fn changes_no_file(world: &Harness) {
    let (trace, cwd, _traces) = busy(world);
    fs::remove_dir_all(cwd.path().join("made")).expect("what it made");
    fs::write(cwd.path().join("doomed"), "").expect("a file");
    let _run = Run::of(world.tool.cargo(cwd.path()).arg("replay").arg(&trace)).expect(0);
    let mut names: Vec<_> = fs::read_dir(cwd.path())
        .expect("a directory")
        .map(|file| file.expect("a file").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["doomed", "log"]);
    assert_eq!(fs::read_to_string(cwd.path().join("log")).expect("a log"), "old\nmore\n");
}

fn of_a_crashing_program(world: &Harness) {
    let source = "#[test]\nfn aborts() { println!(\"now\"); std::process::abort() }";
    let report = Project::of_test(world, source).report(world, &[], 101);
    assert_eq!((report.attempts[0].text("outcome"), report.attempts[0].number("signal")), ("crashed", 6));
}

fn takes_the_newest_trace_or_a_part_of_a_name(world: &Harness) {
    let source = "#[test]\nfn one() { panic!(\"first\") }\n#[test]\nfn two() { panic!(\"second\") }";
    let project = Project::of_test(world, source);
    let _one = project.report(world, &["one"], 101);
    let _two = project.report(world, &["two"], 101);
    let replay = |args: &[&str]| Run::of(project.rrtest(world, &["replay"]).args(args));
    let _newest = replay(&[]).expect(0).says(&["second"]);
    let _part = replay(&["it-one"]).expect(0).says(&["first"]);
    let _both = replay(&["p-it"]).expect(2).says(&["p-it-one", "p-it-two"]);
    let _none = replay(&["three"]).expect(2).says(&["three", "cargo rrtest ls"]);
    let ls = Run::of(&mut project.rrtest(world, &["ls"])).expect(0);
    assert!(ls.text().contains("p::it one") && ls.text().contains("p::it two"), "{ls}");
    let _rm = Run::of(&mut project.rrtest(world, &["rm", "it-one"])).expect(0);
    assert_eq!(project.traces().len(), 1);
    let _rm = Run::of(&mut project.rrtest(world, &["rm", "--all"])).expect(0);
    assert_eq!(project.traces().len(), 0);
    let _none = replay(&[]).expect(2).says(&["--until-fail"]);
}
