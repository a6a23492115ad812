//! What users read of real runs, word for word: `snapshots` has each as a file.
//!
//! What differs from run to run and from machine to machine is replaced. `INSTA_UPDATE=always` writes them anew.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use insta::{Settings, assert_snapshot};
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] =
    tests![mistakes, a_failure_and_its_trace, a_deadlock, a_hang, what_cannot_be_recorded, recorded_programs];

/// What is not the same each time, and what stands in its place.
const FILTERS: &[(&str, &str)] = &[
    (r"\[ *\d+\.\d{3}s\]", "[   time]"),
    (r"0x[0-9a-f]{16,32}", "0x[seed]"),
    (r"\(0x[0-9a-f]+\)", "(0x[address])"),
    (r"-[0-9a-f]{8}(\.rrtrace| |\n|')", "-[seed]$1"),
    (r"\(\d+ runs in \d+\.\d s\)", "([n] runs in [time])"),
    (r"\b\d+ ticks?\b", "[n] ticks"),
    (r"\b\d+ preemptions?\b", "[n] preemptions"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[date]"),
    (r"rustc \d.*", "rustc [version]"),
    (r"machine x86-64-v2 on .*, Linux .*", "machine x86-64-v2 on [processor], Linux [version]"),
    (r"\bformat \d+", "format [ours]"),
    (r"\b\d+ traced system calls?", "[n] traced system calls"),
    (r"\b\d+ (events?|variables?|mapped files?|files? for debuggers)\b", "[n] $1"),
    (r"\b\d+(\.\d+)? (B|KiB|MiB)\b", "[size]"),
    (r"thread '(\w+)'( \(\d+\))? panicked", "thread '$1' panicked"),
    (r"finished in \d+\.\d\ds", "finished in [time]"),
    (r"build-sync-[0-9a-f]+", "build-sync-[hash]"),
    (r"/[^ `\n]*/a test [^/` \n]*", "[dir]"),
    (r"/tmp/\.tmp\w+", "[dir]"),
    // Of a stack, what std's own functions are differs from version to version.
    (r"(?m)^ +\d+-\d+ … .*$", "       [others]"),
    (r"(?m)^ {1,5}\d+ (std|core|alloc|test)::.*$", "     n [std]"),
    (r"(?m)^ {1,5}\d+ it::", "     n it::"),
    (r"\bat event \d+ of \d+(, \d+ ticks? later)?", "at event [n] of [n]"),
    (r"(?m)^( *)(std|core|alloc|test)::.*$", "$1[std]"),
    (r"  +\d+s  +", "  [age]  "),
    // A thread's name has room for fifteen bytes of the program's.
    (r"`it-[0-9a-f]+`", "`it-[hash]`"),
    (r"deps/it-[0-9a-f]{16}", "deps/it-[hash]"),
    (r"due in [^:]*:", "due in [time]:"),
    (r"(?m)^.*(Compiling|Finished|Running|Blocking|Building) .*\n", ""),
];

/// Settings under which a snapshot is the same everywhere.
fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    FILTERS.iter().for_each(|(pattern, place)| settings.add_filter(pattern, *place));
    settings
}

/// What a command said, as a terminal shows it.
fn session(run: &Run, words: &str) -> String {
    let code = run.status.code().unwrap_or_else(|| panic!("killed: {run}"));
    format!("$ cargo rrtest {words}\n{}{}(exit code {code})\n", run.text(), run.stderr)
}

fn check(name: &str, text: &str) {
    settings().bind(|| assert_snapshot!(name, text));
}

fn said(world: &Harness, dir: &Path, words: &str) -> String {
    session(&Run::of(world.tool.cargo(dir).args(words.split(' '))), words)
}

/// Wrong arguments, and files that are not there.
fn mistakes(world: &Harness) {
    let project = Project::of_test(world, "#[test] fn passes() {}");
    // Where no project is above it.
    let nowhere = tempfile::tempdir().expect("a directory");
    project.write("text.rrtrace", "no trace");
    for name in ["p-one", "p-two"] {
        let trace = format!("target/rrtest/traces/{name}.rrtrace");
        project.write(&trace, "");
        // The newest would be named first.
        let file = File::options().write(true).open(project.path().join(&trace)).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("a time of modification");
    }
    let in_project = [
        "no_such_test",
        "-- --bogus",
        "-- --skip",
        "-- --test-threads",
        "--strategy systematic,walk",
        "--target aarch64-unknown-linux-gnu",
        "replay text.rrtrace",
        "replay absent",
        "replay p-",
        "replay src",
        "show p-one",
        "rm absent",
        "exec -- no-such-program",
        "exec -- src",
    ];
    let in_project = in_project.map(|words| said(world, project.path(), words));
    let elsewhere = ["", "replay", "ls", "--manifest-path absent/Cargo.toml"]
        .map(|words| said(world, nowhere.path(), words));
    check("mistakes", &(in_project.concat() + &elsewhere.concat()));
}

/// A test that fails: the run, its trace described, listed, replayed and deleted.
fn a_failure_and_its_trace(world: &Harness) {
    let source = "#[test] fn passes() {}\n#[test] fn fails() { println!(\"one\"); assert_eq!(1 + 1, 3); }";
    let project = Project::of_test(world, source);
    let all = [
        "--no-chaos -j1 --seed 1 --preempt sync --explain 10m",
        "ls",
        "show",
        "replay",
        "backtrace",
        "rm --all",
        "ls",
    ];
    check("a_failure_and_its_trace", &all.map(|words| said(world, project.path(), words)).concat());
}

fn a_deadlock(world: &Harness) {
    let source = r#"
        use std::sync::Mutex;
        #[test] fn waits_for_itself() {
            let mutex = Mutex::new(0);
            let _guard = mutex.lock().unwrap();
            drop(mutex.lock());
        }
    "#;
    let project = Project::of_test(world, source);
    let all = ["--no-chaos -j1 --seed 1 --preempt sync --explain 10m", "backtrace"];
    check("a_deadlock", &all.map(|words| said(world, project.path(), words)).concat());
}

fn a_hang(world: &Harness) {
    let source = r#"
        #[test] fn sleeps() { std::thread::sleep(std::time::Duration::from_secs(7200)) }
    "#;
    let project = Project::of_test(world, source);
    check(
        "a_hang",
        &said(world, project.path(), "--no-chaos -j1 --seed 1 --preempt sync --timeout 2s --explain never"),
    );
}

fn what_cannot_be_recorded(world: &Harness) {
    let source = r#"
        unsafe extern "C" {
            fn remap_file_pages(addr: *mut u8, size: usize, prot: i32, offset: usize, flags: i32) -> i32;
        }
        #[test] fn remaps() {
            assert_eq!(unsafe { remap_file_pages(std::ptr::null_mut(), 4096, 0, 0, 0) }, -1);
        }
    "#;
    let project = Project::of_test(world, source);
    check("what_cannot_be_recorded", &said(world, project.path(), "--no-chaos -j1 --seed 1 --preempt sync"));
}

/// `exec`: of programs that end well, badly, by a signal and not at all.
fn recorded_programs(world: &Harness) {
    let dir = world.dir();
    let all = [
        "exec --trace-dir t -- true",
        "exec --trace-dir t -- false",
        "exec --trace-dir t --keep always -- true",
        "exec --trace-dir t --timeout 1s --time virtual -- sleep 7200",
    ];
    check("recorded_programs", &all.map(|words| said(world, dir.path(), words)).concat());
}
