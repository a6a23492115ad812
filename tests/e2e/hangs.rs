//! What the report of a hang says: who waits for what, since where, and who could end that.

use std::path::Path;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::ENOUGH;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;
use serde_json::{Value, json};

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    threads_that_join_each_other,
    locks_and_their_owners,
    a_mutex_that_is_locked_twice,
    a_notification_that_was_lost,
    a_notification_of_the_wrong_thread,
    channels_and_barriers,
    a_child_that_waits_for_the_end_of_its_input,
    a_connection_within_a_process,
    a_lock_on_a_file,
    nobody_who_could_connect,
    threads_that_run_and_get_nowhere,
    a_wait_for_the_world_is_no_livelock,
];

/// The one failing attempt of a run, and all that it said.
fn failing(run: Run) -> (Attempt, Run) {
    let run = run.expect(101);
    let report = Report::of(&run);
    let failing: Vec<_> = report.failing().cloned().collect();
    let [attempt] = &failing[..] else { panic!("one failure: {run}") };
    (attempt.clone(), run)
}

/// Find the hang of a fixture.
fn of_fixture(world: &Harness, package: &str, traces: &Path, options: &[&str]) -> (Attempt, Run) {
    let mut command = world.fixture(package, traces);
    command.args(["--until-fail", "--runs", ENOUGH, "-j1", "--seed", "1"]).args(options);
    failing(Run::of(&mut command))
}

/// Run a test that hangs under every schedule.
fn of_test(world: &Harness, source: &str, options: &[&str]) -> (Attempt, Run) {
    let project = Project::of_test(world, source);
    let mut command = project.rrtest(world, &["--message-format", "json", "-j1", "--no-chaos"]);
    failing(Run::of(command.args(options)))
}

/// What the report says of a thread.
fn wait_of<'a>(attempt: &'a Attempt, thread: &str) -> &'a Value {
    let waits = attempt.0["waits"].as_array().expect("what threads wait for");
    waits.iter().find(|wait| wait["thread"] == thread).unwrap_or_else(|| panic!("no {thread}: {waits:?}"))
}

/// What a thread waits for, and who could end that.
fn kind_and_wakers<'a>(attempt: &'a Attempt, thread: &str) -> (&'a str, Vec<&'a str>) {
    let wait = wait_of(attempt, thread);
    let wakers =
        wait["woken_by"].as_array().expect("a list").iter().map(|by| by["thread"].as_str().expect("a name"));
    (wait["waits_for"].as_str().unwrap_or("nothing"), wakers.collect())
}

fn threads_that_join_each_other(world: &Harness) {
    const CIRCLE: &str = "`intake` waits for `writer`, which waits for `janitor`, which waits for `intake`";
    let traces = world.dir();
    let junit = traces.path().join("junit.xml");
    let (attempt, run) =
        of_fixture(world, "join-cycle", traces.path(), &["--junit", &junit.to_string_lossy()]);
    assert_eq!(attempt.text("outcome"), "deadlocked");
    for (thread, waker) in [("intake", "writer"), ("writer", "janitor"), ("janitor", "intake")] {
        assert_eq!(kind_and_wakers(&attempt, thread), ("thread", vec![waker]), "{run}");
        let since = wait_of(&attempt, thread)["since"].as_str().expect("a place");
        assert!(since.contains("join-cycle/src/lib.rs:"), "{since}");
    }
    assert_eq!(kind_and_wakers(&attempt, "a_failing_archi"), ("channel", vec![]), "{run}");
    let run = run.says(&[CIRCLE, "thread `janitor`: waits for the end of thread `intake`, since "]);
    // Wherever else it is told.
    let report = std::fs::read_to_string(&junit).expect("a report");
    assert!(report.contains(CIRCLE), "{report}");
    let trace = attempt.trace().unwrap_or_else(|| panic!("no trace: {run}"));
    let shown = Run::of(world.tool.cargo(traces.path()).arg("show").arg(&trace)).expect(0);
    assert!(shown.text().contains(CIRCLE), "{shown}");
    let _replayed =
        Run::of(world.tool.cargo(traces.path()).arg("replay").arg(&trace)).expect(0).says(&[CIRCLE]);
}

fn locks_and_their_owners(world: &Harness) {
    let traces = world.dir();
    let (attempt, run) = of_fixture(world, "lock-order", traces.path(), &[]);
    assert_eq!(kind_and_wakers(&attempt, "hiring"), ("mutex", vec!["reform"]), "{run}");
    assert_eq!(kind_and_wakers(&attempt, "reform"), ("mutex", vec!["hiring"]), "{run}");
    let run =
        run.says(&["`hiring` waits for `reform`, which waits for `hiring`", ", held by `reform`, since "]);
    // The owners are in the trace, too.
    let trace = attempt.trace().unwrap_or_else(|| panic!("no trace: {run}"));
    let shown = Run::of(world.tool.cargo(traces.path()).arg("show").arg(&trace)).expect(0);
    assert!(shown.text().contains(", held by `hiring`, since "), "{shown}");
}

fn a_mutex_that_is_locked_twice(world: &Harness) {
    let source = "
        use std::sync::Mutex;
        #[test] fn twice() {
            let mutex = Mutex::new(1);
            drop(mutex.lock().unwrap());
            let once = mutex.lock().unwrap();
            let twice = mutex.lock().unwrap();
            assert_eq!(*once, *twice);
        }
    ";
    let (attempt, run) = of_test(world, source, &[]);
    assert_eq!(kind_and_wakers(&attempt, "twice"), ("mutex", vec!["twice"]), "{run}");
    let _said = run.says(&["`twice` waits for `twice`", "since tests/it.rs:7"]);
}

fn a_notification_that_was_lost(world: &Harness) {
    let traces = world.dir();
    let (attempt, run) = of_fixture(world, "lost-wakeup", traces.path(), &[]);
    assert_eq!(kind_and_wakers(&attempt, "caller"), ("condvar", vec![]), "{run}");
    assert_eq!(kind_and_wakers(&attempt, "everybody_passe"), ("thread", vec!["caller"]), "{run}");
    let _said = run.says(&["waits for the notification of a condition variable"]);
}

fn a_notification_of_the_wrong_thread(world: &Harness) {
    let traces = world.dir();
    let (attempt, run) = of_fixture(world, "wake-order", traces.path(), &[]);
    for customer in ["second", "third"] {
        assert_eq!(kind_and_wakers(&attempt, customer), ("condvar", vec![]), "{run}");
        let since = wait_of(&attempt, customer)["since"].as_str().expect("a place");
        assert!(since.contains("wake-order/src/lib.rs:"), "{since}");
    }
}

fn channels_and_barriers(world: &Harness) {
    let source = "
        use std::sync::{Barrier, Condvar, Mutex, RwLock, mpsc};
        use std::thread::Builder;
        #[test] fn many_ways_to_wait() {
            static BARRIER: Barrier = Barrier::new(2);
            static LOCK: RwLock<()> = RwLock::new(());
            let (sender, receiver) = mpsc::channel::<()>();
            let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
                Builder::new().name(name.into()).spawn(work).unwrap()
            };
            let written = LOCK.write().unwrap();
            let all = [
                start(\"receives\", Box::new(move || drop(receiver.recv()))),
                start(\"meets\", Box::new(|| drop(BARRIER.wait()))),
                start(\"reads\", Box::new(|| drop(LOCK.read()))),
                start(\"parks\", Box::new(|| loop { std::thread::park() })),
                start(\"limited\", Box::new(|| {
                    let mutex = Mutex::new(());
                    let day = std::time::Duration::from_secs(86_400);
                    drop(Condvar::new().wait_timeout(mutex.lock().unwrap(), day));
                })),
            ];
            for thread in all { thread.join().unwrap(); }
            drop((written, sender));
        }
    ";
    let (attempt, run) = of_test(world, source, &["--timeout", "5s", "--time", "real"]);
    assert_eq!(attempt.text("outcome"), "hung", "a time limit ends it: {run}");
    for (thread, kind) in [
        ("receives", "channel"),
        ("meets", "barrier"),
        ("reads", "rwlock"),
        ("parks", "unpark"),
        ("limited", "condvar"),
    ] {
        assert_eq!(kind_and_wakers(&attempt, thread), (kind, vec![]), "{run}");
        assert_eq!(wait_of(&attempt, thread)["time_limit"], json!(thread == "limited"), "{run}");
    }
    let _said = run.says(&["all threads wait"]);
}

fn a_child_that_waits_for_the_end_of_its_input(world: &Harness) {
    let source = "
        use std::process::{Command, Stdio};
        #[test] fn kept_open() {
            let mut cat = Command::new(\"cat\").stdin(Stdio::piped()).spawn().unwrap();
            let input = cat.stdin.take();
            cat.wait().unwrap();
            drop(input);
        }
    ";
    let (attempt, run) = of_test(world, source, &[]);
    assert_eq!(attempt.text("outcome"), "deadlocked", "{run}");
    assert_eq!(kind_and_wakers(&attempt, "kept_open"), ("child", vec!["cat"]), "{run}");
    let (kind, holders) = kind_and_wakers(&attempt, "cat");
    assert_eq!(kind, "pipe", "{run}");
    assert!(holders.contains(&"kept_open") && !holders.contains(&"cat"), "{run}");
}

/// A deadlock whose trace has been replayed, and what the report says of a thread: what it waits for and which one.
fn of_deadlock<'a>(attempt: &'a Attempt, run: &Run, thread: &str) -> &'a str {
    assert_eq!(attempt.text("outcome"), "deadlocked", "{run}");
    assert_eq!(attempt.0["verified"], json!(true), "{run}");
    wait_of(attempt, thread)["what"].as_str().unwrap_or_else(|| panic!("nothing of {thread}: {run}"))
}

fn a_connection_within_a_process(world: &Harness) {
    let source = "
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};
        #[test] fn echo() {
            let listener = TcpListener::bind((\"127.0.0.1\", 0)).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut served, _) = listener.accept().unwrap();
            let answers = move || {
                let mut all = String::new();
                served.read_to_string(&mut all).unwrap();
                served.write_all(all.as_bytes()).unwrap();
            };
            let server = std::thread::Builder::new().name(\"server\".into()).spawn(answers).unwrap();
            client.write_all(b\"ping\").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
            server.join().unwrap();
        }
    ";
    let (attempt, run) = of_test(world, source, &[]);
    for (thread, other) in [("echo", "server"), ("server", "echo")] {
        assert_eq!(kind_and_wakers(&attempt, thread), ("socket", vec![other]), "{run}");
        let what = of_deadlock(&attempt, &run, thread);
        assert!(what.starts_with("data on the TCP connection 127.0.0.1:"), "{what}");
    }
    let _said =
        run.says(&["waits for data on the TCP connection 127.0.0.1:", "other end is held by `server`"]);
}

fn a_lock_on_a_file(world: &Harness) {
    let source = "
        use std::fs::File;
        #[test] fn kept_locked() {
            let path = concat!(env!(\"CARGO_TARGET_TMPDIR\"), \"/locked\");
            let first = File::create(path).unwrap();
            first.lock().unwrap();
            let second = move || File::open(path).unwrap().lock_shared().unwrap();
            std::thread::Builder::new().name(\"second\".into()).spawn(second).unwrap().join().unwrap();
            drop(first);
        }
    ";
    let (attempt, run) = of_test(world, source, &[]);
    assert_eq!(kind_and_wakers(&attempt, "second"), ("file lock", vec!["kept_locked"]), "{run}");
    let what = of_deadlock(&attempt, &run, "second");
    assert!(what.starts_with("a lock (flock) on /") && what.ends_with("/locked"), "{what}");
    let _said = run.says(&["waits for a lock (flock) on /", "/locked, held by `kept_locked`"]);
}

fn nobody_who_could_connect(world: &Harness) {
    let source = "
        #[test] fn listens() {
            let listener = std::net::TcpListener::bind((\"127.0.0.1\", 0)).unwrap();
            drop(listener.accept());
        }
    ";
    let (attempt, run) = of_test(world, source, &[]);
    assert_eq!(kind_and_wakers(&attempt, "listens"), ("connection", vec![]), "{run}");
    let what = of_deadlock(&attempt, &run, "listens");
    assert!(what.starts_with("a connection to 127.0.0.1:"), "{what}");
}

fn threads_that_run_and_get_nowhere(world: &Harness) {
    let traces = world.dir();
    let (attempt, run) = of_fixture(world, "livelock", traces.path(), &["--timeout", "5s"]);
    assert_eq!(attempt.text("outcome"), "hung", "{run}");
    for side in ["east", "west"] {
        assert_eq!(kind_and_wakers(&attempt, side), ("nothing", vec![]), "{run}");
        let since = wait_of(&attempt, side)["since"].as_str().expect("a place");
        assert!(since.contains("livelock/src/lib.rs:"), "{since}");
    }
    let _said = run.says(&["can run; ", " ticks since the last system call, not counting sched_yield"]);
}

fn a_wait_for_the_world_is_no_livelock(world: &Harness) {
    let source = "
        #[test] fn listens() {
            // Where others than this machine can come to it.
            let listener = std::net::TcpListener::bind((\"0.0.0.0\", 0)).unwrap();
            drop(listener.accept());
        }
    ";
    let (attempt, run) = of_test(world, source, &["--timeout", "5s"]);
    assert_eq!(attempt.text("outcome"), "hung", "{run}");
    let _said = run.says(&["all threads wait, but not only for each other"]);
}
