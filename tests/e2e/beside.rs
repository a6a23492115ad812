//! Attempts side by side, and `cargo rrtest` side by side, that use what there is only one of.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use rrtest_tests::Harness;
use rrtest_tests::latch::{FifoLatch, Untold};
use rrtest_tests::project::Project;
use rrtest_tests::races::ENOUGH;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    attempts_that_use_the_same_do_not_disturb_each_other,
    neither_do_those_of_two_campaigns,
    a_failure_in_which_another_attempt_had_a_part_is_none,
    a_failure_in_which_another_campaign_had_a_part_is_none,
    nor_is_that_of_who_only_read_what_another_writes,
    who_waits_for_another_campaign_says_so,
    one_that_waits_to_be_alone_holds_up_nobody,
    one_that_comes_again_alone_is_one,
    a_bug_beside_a_port_is_found,
];

/// Of each of the six tests so many attempts are made.
const RUNS: &str = "50";

fn survives(run: &Run) {
    let report = Report::of(run);
    assert_eq!((report.attempts.len(), report.failing().count()), (300, 0), "{run}");
    for line in report.interferences.iter().filter(|line| !line["with"].is_null()) {
        // When later ones began something was known of their test.
        let late = ["attempt", "with_attempt"].map(|number| line[number].as_u64() > Some(2));
        assert_ne!(late, [true; 2], "{line:?}: {run}");
    }
}

fn attempts_that_use_the_same_do_not_disturb_each_other(world: &Harness) {
    let traces = world.dir();
    let mut command = world.fixture("fixed-names", traces.path());
    survives(&Run::of(command.args(["-j2", "--runs", RUNS])).expect(0));
}

fn neither_do_those_of_two_campaigns(world: &Harness) {
    let traces = world.dir();
    let start = |_| {
        let mut command = world.fixture("fixed-names", traces.path());
        command.args(["-j2", "--runs", RUNS]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child")
    };
    for child in [0, 1].map(start) {
        survives(&Run::rest(child, "one of two campaigns".to_owned()).expect(0));
    }
}

/// Two tests: what `holds` `begins`, it `ends` when `comes`, which had waited for the file, has tried what it is to
/// do, and seen whether that was good. Another attempt at `comes` waits for nothing.
fn meeting(dir: &Path, begins: &str, ends: &str, tries: &str) -> [String; 2] {
    let prelude = format!(
        "use std::fs::{{self, File}};
        fn file() -> std::path::PathBuf {{ place(\"file\") }}
        fn place(name: &str) -> std::path::PathBuf {{ std::path::Path::new({dir:?}).join(name) }}
        fn make(name: &str) -> bool {{ File::create_new(place(name)).is_ok() }}
        fn wait_for(name: &str) {{
            while !place(name).exists() {{ std::thread::sleep(std::time::Duration::from_millis(1)); }}
        }}"
    );
    let holds = format!("#[test] fn holds() {{ {begins}; wait_for(\"seen\"); {ends}; }}");
    let comes = format!(
        "#[test] fn comes() {{
            let again = place(\"seen\").exists();
            if !again {{ wait_for(\"file\"); }}
            let good = {tries};
            make(if again {{ \"again\" }} else {{ \"seen\" }});
            assert!(good);
        }}"
    );
    [holds, comes].map(|test| format!("{prelude}\n{test}\n"))
}

/// Both want the file for themselves.
fn a_file_for_one(dir: &Path) -> [String; 2] {
    meeting(dir, "assert!(make(\"file\"))", "fs::remove_file(file()).unwrap()", "make(\"file\")")
}

/// Starts a campaign that knows of those in other projects to which the same `dir` is given.
fn start(project: &Project, world: &Harness, dir: &Path, options: &[&str]) -> Child {
    let mut command = project.rrtest(world, &["-j1", "--preempt", "sync"]);
    command.args(options).env("TMPDIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("a child")
}

/// Both in one file.
fn together([holds, comes]: [String; 2]) -> String {
    format!("mod one {{ {holds} }}\nmod other {{ {comes} }}")
}

fn a_failure_in_which_another_attempt_had_a_part_is_none(world: &Harness) {
    let dir = world.dir();
    let project = Project::of_test(world, &together(a_file_for_one(dir.path())));
    let options = ["--message-format", "json", "-v", "-j2", "--preempt", "sync", "--junit", "report.xml"];
    let run = Run::of(&mut project.rrtest(world, &options)).expect(0).says(&[
        "DISTURBED",
        "p::it other::comes (attempt 1): failed while p::it one::holds (attempt 1) also used ",
        "/file; it passes alone",
    ]);
    let report = Report::of(&run);
    let [line] = &report.interferences[..] else { panic!("{run}") };
    assert_eq!(
        (&line["test"], &line["outcome"], &line["with"]),
        (&"other::comes".into(), &"failed".into(), &"p::it one::holds".into())
    );
    assert_eq!(line["thing"], dir.path().join("file").to_str().expect("text"));
    assert_eq!((report.attempts.len(), report.failing().count(), report.traces().len()), (2, 0, 0), "{run}");
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    assert!(junit.contains("failures=\"0\"") && !junit.contains("<failure"), "{junit}");
}

fn a_failure_in_which_another_campaign_had_a_part_is_none(world: &Harness) {
    let dir = world.dir();
    let [_, comes] = a_file_for_one(dir.path());
    // The other campaign goes on until all is over, by an attempt of which is known that it does not use the file.
    let [holds, _] = meeting(dir.path(), "make(\"file\")", "drop(fs::remove_file(file()))", "");
    let stays = "#[test] fn stays() { if !make(\"stayed\") { wait_for(\"again\"); } }";
    let other = Project::of_test(world, &(holds + stays));
    let other = start(&other, world, dir.path(), &["--runs", "2"]);
    let project = Project::of_test(world, &comes);
    let run = Run::rest(start(&project, world, dir.path(), &[]), "the one that comes".to_owned());
    let _other = Run::rest(other, run.to_string()).expect(0);
    let _run = run.expect(0).says(&[
        "p::it comes (attempt 1): failed while another `cargo rrtest` also used ",
        "/file; it passes alone",
        "1 attempt of 1 test: 1 passed, 0 failed",
    ]);
}

fn nor_is_that_of_who_only_read_what_another_writes(world: &Harness) {
    let dir = world.dir();
    let writes = |text| format!("fs::write(file(), {text:?}).unwrap()");
    let reads = "fs::read(file()).unwrap() == b\"whole\"";
    let source = together(meeting(dir.path(), &writes("half"), &writes("whole"), reads));
    let project = Project::of_test(world, &source);
    let report = project.report(world, &["-j2", "--preempt", "sync"], 0);
    let [line] = &report.interferences[..] else { panic!("{report:?}") };
    assert_eq!((&line["test"], &line["with"]), (&"other::comes".into(), &"p::it one::holds".into()));
    assert_eq!(line["thing"], dir.path().join("file").to_str().expect("text"));
}

fn who_waits_for_another_campaign_says_so(world: &Harness) {
    let dir = world.dir();
    let at = |name: &str| dir.path().join(name);
    // The second attempt is known to use the file, and has it as long as it is not told to end.
    let holds = format!(
        "use std::{{fs, path::Path}};
        #[test] fn holds() {{
            let dir = Path::new({:?});
            fs::write(dir.join(\"file\"), \"\").unwrap();
            if !dir.join(\"second\").exists() {{ return fs::write(dir.join(\"second\"), \"\").unwrap(); }}
            fs::write(dir.join(\"held\"), \"!\").unwrap();
            fs::read(dir.join(\"told\")).unwrap();
        }}",
        dir.path()
    );
    let wants = format!("#[test] fn wants() {{ std::fs::write({:?}, \"\").unwrap(); }}", at("file"));
    let [one, other] = [holds, wants].map(|source| Project::of_test(world, &source));
    // The one that holds the file is not taken to hang, however long the other one takes to come.
    let start = |project| start(project, world, dir.path(), &["--runs", "2", "--timeout", "1h"]);
    let (held, untold) = (FifoLatch::new(&at("held")), Untold::new(&at("told")));
    let holder = start(&one);
    held.wait();
    let mut waiter = start(&other);
    let mut lines = BufReader::new(waiter.stderr.take().expect("a pipe")).lines();
    let told = lines.any(|line| line.expect("text").contains("waiting for another `cargo rrtest`"));
    drop(untold);
    lines.for_each(drop);
    assert!(told, "it does not say that it waits");
    assert_eq!(waiter.wait().expect("a child").code(), Some(0));
    let _held = Run::rest(holder, "the one that has the file".to_owned()).expect(0);
}

fn one_that_waits_to_be_alone_holds_up_nobody(world: &Harness) {
    let dir = world.dir();
    let at = |name: &str| dir.path().join(name);
    // A first attempt, of which nobody knows what it uses, goes on until it is told to end.
    let holds = format!(
        "#[test] fn holds() {{
            let dir = std::path::Path::new({:?});
            std::fs::write(dir.join(\"held\"), \"!\").unwrap();
            std::fs::read(dir.join(\"told\")).unwrap();
        }}",
        dir.path()
    );
    let fails = format!(
        "#[test] fn fails() {{
            let dir = std::path::Path::new({:?});
            if std::fs::File::create_new(dir.join(\"first\")).is_ok() {{
                std::fs::write(dir.join(\"failed\"), \"!\").unwrap();
            }}
            panic!(\"as ever\");
        }}",
        dir.path()
    );
    let [holds, fails, passes] =
        [&*holds, &*fails, "#[test] fn passes() {}"].map(|source| Project::of_test(world, source));
    let start = |project, options: &[&str]| start(project, world, dir.path(), options);
    let [held, failed] = ["held", "failed"].map(|name| FifoLatch::new(&at(name)));
    let untold = Untold::new(&at("told"));
    let holder = start(&holds, &["--timeout", "1h"]);
    held.wait();
    let waiter = start(&fails, &["--explain", "never"]);
    failed.wait();
    failed.wait_for_end();
    let _passed = Run::rest(start(&passes, &[]), "a third one".to_owned()).expect(0);
    drop(untold);
    let _held = Run::rest(holder, "the one that goes on".to_owned()).expect(0);
    let _failed = Run::rest(waiter, "the one that fails".to_owned()).expect(101).says(&["as ever"]);
}

fn one_that_comes_again_alone_is_one(world: &Harness) {
    let dir = world.dir();
    let source =
        a_file_for_one(dir.path()).map(|test| test.replace("assert!(good)", "assert!(good && false)"));
    let project = Project::of_test(world, &together(source));
    let report = project.report(world, &["-j2", "--preempt", "sync"], 101);
    assert!(dir.path().join("again").exists(), "it has been made again");
    let failing: Vec<_> = report.failing().collect();
    assert!(failing.len() == 1 && failing[0].trace().is_some(), "{report:?}");
    assert_eq!((report.attempts.len(), report.interferences.len()), (2, 0), "{report:?}");
}

fn a_bug_beside_a_port_is_found(world: &Harness) {
    // No port that the kernel hands out to clients (ip_local_port_range, ip(7)): one of those may be in use by chance.
    let source = "
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        static SUM: AtomicU32 = AtomicU32::new(0);
        #[test] fn counts() {
            let _port = std::net::TcpListener::bind((\"127.0.0.1\", 27_814)).unwrap();
            let add = || { let sum = SUM.load(SeqCst); SUM.store(sum + 1, SeqCst); };
            std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
            assert_eq!(SUM.load(SeqCst), 2, \"an addition is lost\");
        }";
    let project = Project::of_test(world, source);
    let options = ["--message-format", "json", "-j2", "--until-fail", "--runs", ENOUGH, "--preempt", "sync"];
    let run = Run::of(&mut project.rrtest(world, &options)).expect(101).says(&["an addition is lost"]);
    assert!(Report::of(&run).failing().all(|attempt| attempt.trace().is_some()), "{run}");
}
