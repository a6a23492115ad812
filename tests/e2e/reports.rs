//! What a report says is certain, and its reader can find their way in it: who holds what, which thread is meant,
//! whose code it is.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    a_mutex_that_was_freed_has_no_owner,
    a_guard_that_was_leaked_by_a_thread_that_has_ended,
    threads_of_the_same_name,
    library_code_is_folded,
    functions_that_share_their_code,
    what_an_async_function_awaits,
];

/// A plain run of a project's tests, which fail.
fn run(world: &Harness, project: &Project, args: &[&str]) -> Run {
    Run::of(project.rrtest(world, &["--message-format", "json", "-j1", "--no-chaos"]).args(args)).expect(101)
}

/// What the report of a run says of the attempt at a test.
fn attempt(run: &Run, test: &str) -> Attempt {
    let report = Report::of(run);
    let attempt = report.attempts.iter().find(|attempt| attempt.text("test") == test);
    attempt.unwrap_or_else(|| panic!("no {test}: {run}")).clone()
}

/// The threads that could end what a thread waits for, and the one that has ended.
fn holders(attempt: &Attempt, thread: &str) -> (Vec<String>, Option<String>) {
    let waits = attempt.0["waits"].as_array().expect("what threads wait for");
    let wait = waits.iter().find(|wait| wait["thread"] == thread).expect("the thread");
    let name = |by: &serde_json::Value| by["thread"].as_str().map(str::to_owned);
    let living = wait["woken_by"].as_array().expect("a list").iter().filter_map(name);
    (living.collect(), name(&wait["held_by_ended"]))
}

fn a_mutex_that_was_freed_has_no_owner(world: &Harness) {
    let source = r#"
        use std::sync::{Mutex, mpsc};
        use std::thread::{Builder, park};
        const SIZE: usize = std::mem::size_of::<Mutex<u32>>();
        /// Somebody locks a mutex, unlocks it, and overwrites its memory.
        fn overwritten(by: fn(usize)) -> &'static Mutex<u32> {
            let at = std::ptr::from_ref(Box::leak(Box::new(Mutex::new(0_u32)))).addr();
            let (sender, receiver) = mpsc::channel();
            let work = move || {
                let mutex = unsafe { &*(at as *const Mutex<u32>) };
                drop(mutex.lock().unwrap());
                by(at);
                sender.send(()).unwrap();
                loop { park() }
            };
            Builder::new().name("long_ago".into()).spawn(work).unwrap();
            receiver.recv().unwrap();
            unsafe { &*(at as *const Mutex<u32>) }
        }
        #[test] fn by_a_pattern() {
            drop(overwritten(|at| unsafe { std::ptr::write_bytes(at as *mut u8, 0xdd, SIZE) }).lock());
        }
        #[test] fn by_a_one() {
            drop(overwritten(|at| unsafe { std::ptr::write_volatile(at as *mut u32, 1) }).lock());
        }
        #[test] fn by_the_kernel() {
            let read = |at| {
                use std::io::Read;
                std::fs::write("ones", [1; SIZE]).unwrap();
                let memory = unsafe { std::slice::from_raw_parts_mut(at as *mut u8, SIZE) };
                std::fs::File::open("ones").unwrap().read_exact(memory).unwrap();
            };
            drop(overwritten(read).lock());
        }
        #[test] fn not_at_all() {
            let mutex = Mutex::new(0);
            let _guard = mutex.lock().unwrap();
            drop(mutex.lock());
        }
    "#;
    let project = Project::of_test(world, source);
    let run = run(world, &project, &["--preempt", "sync"]);
    for test in ["by_a_pattern", "by_a_one", "by_the_kernel"] {
        assert_eq!(holders(&attempt(&run, test), test), (vec![], None), "{run}");
    }
    assert_eq!(
        holders(&attempt(&run, "not_at_all"), "not_at_all"),
        (vec!["not_at_all".into()], None),
        "{run}"
    );
}

fn a_guard_that_was_leaked_by_a_thread_that_has_ended(world: &Harness) {
    let source = r#"
        use std::sync::Mutex;
        use std::thread::Builder;
        #[test] fn waits() {
            static MUTEX: Mutex<u32> = Mutex::new(0);
            let leak = || std::mem::forget(MUTEX.lock().unwrap());
            Builder::new().name("leaker".into()).spawn(leak).unwrap().join().unwrap();
            drop(MUTEX.lock());
        }
    "#;
    let run = run(world, &Project::of_test(world, source), &[]);
    assert_eq!(holders(&attempt(&run, "waits"), "waits"), (vec![], Some("leaker".into())), "{run}");
    let _said = run.says(&["held by `leaker` (task 2), which has ended, since tests/it.rs:8"]);
}

fn threads_of_the_same_name(world: &Harness) {
    let source = r#"
        use std::sync::{Barrier, Mutex};
        use std::thread::{Builder, JoinHandle};
        static LEFT: Mutex<()> = Mutex::new(());
        static RIGHT: Mutex<()> = Mutex::new(());
        static BOTH: Barrier = Barrier::new(2);
        fn worker(first: &'static Mutex<()>, second: &'static Mutex<()>) -> impl FnOnce() + Send + 'static {
            move || {
                let _first = first.lock().unwrap();
                BOTH.wait();
                let _second = second.lock().unwrap();
            }
        }
        #[test] fn waits() {
            let one: JoinHandle<()> = Builder::new().name("w".into()).spawn(worker(&LEFT, &RIGHT)).unwrap();
            let other: JoinHandle<()> = Builder::new().name("w".into()).spawn(worker(&RIGHT, &LEFT)).unwrap();
            one.join().unwrap();
            other.join().unwrap();
        }
    "#;
    let run = run(world, &Project::of_test(world, source), &[]);
    let places: Vec<_> = attempt(&run, "waits").0["waits"]
        .as_array()
        .expect("threads")
        .iter()
        .filter(|wait| wait["thread"] == "w")
        .map(|wait| wait["spawned"].as_str().expect("a place").to_owned())
        .collect();
    assert_eq!(places, ["tests/it.rs:15", "tests/it.rs:16"], "{run}");
    let _said = run.says(&[
        "`w` (task 2) waits for `w` (task 3), which waits for `w` (task 2)",
        "task 1, thread `waits`: waits for the end of thread `w` (task 2), since tests/it.rs:17",
        "task 2, thread `w` (spawned at tests/it.rs:15): waits for a mutex",
        ", held by `w` (task 3), since tests/it.rs:11",
    ]);
}

fn library_code_is_folded(world: &Harness) {
    let manifest = "[package]\nname = 'p'\nversion = '1.2.3'\nedition = '2024'\n[workspace]\n\
                    [dependencies]\npool = { path = 'registry/src/index-0/pool-1.44.1' }\n";
    let library = "[package]\nname = 'pool'\nversion = '1.44.1'\nedition = '2024'\n";
    // Four functions deep, into the user's, and four deep again.
    let code = r#"
        pub fn run(work: &dyn Fn()) { one(work) }
        #[inline(never)] fn one(work: &dyn Fn()) { two(work); std::hint::black_box(()); }
        #[inline(never)] fn two(work: &dyn Fn()) { three(work); std::hint::black_box(()); }
        #[inline(never)] fn three(work: &dyn Fn()) { work(); std::hint::black_box(()); }
    "#;
    let source = r#"
        fn waits_for_ever() { pool::run(&|| loop { std::thread::park() }) }
        #[test] fn waits() { pool::run(&|| waits_for_ever()) }
    "#;
    let project = Project::new(
        world,
        &[
            ("Cargo.toml", manifest),
            ("registry/src/index-0/pool-1.44.1/Cargo.toml", library),
            ("registry/src/index-0/pool-1.44.1/src/lib.rs", code),
            ("tests/it.rs", source),
        ],
    );
    let run = run(world, &project, &["waits"]);
    assert!(!run.stderr.contains("pool-1.44.1/src"), "{run}");
    let lines: Vec<_> = run.stderr.lines().map(str::trim).collect();
    let own = lines.iter().position(|line| line.starts_with("it::waits_for_ever at tests/it.rs:2"));
    let own = own.unwrap_or_else(|| panic!("no own frame: {run}"));
    assert!(lines[own + 1].starts_with("it::waits::{{closure}}"), "{run}");
    let _said = run.says(&["… 4 frames of pool 1.44.1", "since tests/it.rs:2"]);
}

fn functions_that_share_their_code(world: &Harness) {
    let source = r#"
        use std::io::Read;
        use std::net::{TcpListener, TcpStream};
        #[test] fn reads() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _peer = listener.accept().unwrap();
            drop(stream.read(&mut [0; 8]));
        }
    "#;
    let run = run(world, &Project::of_test(world, source), &["--timeout", "1s"]);
    let run =
        run.says(&["<std::net::tcp::TcpStream as std::io::Read>::read\n", "it::reads at tests/it.rs:8"]);
    assert!(!run.stderr.contains("UdpSocket"), "{run}");
}

fn what_an_async_function_awaits(world: &Harness) {
    let source = r#"
        use std::pin::pin;
        use std::task::{Context, Waker};
        fn block_on<F: Future>(future: F) -> F::Output {
            let mut future = pin!(future);
            loop {
                let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let std::task::Poll::Ready(output) = polled else { std::thread::park(); continue };
                return output;
            }
        }
        async fn inner(ready: bool) -> u32 {
            if ready { 1 } else { std::future::pending().await }
        }
        async fn outer() -> u32 {
            let first = inner(true).await;
            let second = Box::pin(inner(false));
            first + second.await
        }
        #[test] fn waits() {
            block_on(async { assert_eq!(outer().await, 2) });
        }
    "#;
    let run = run(world, &Project::of_test(world, source), &[]);
    let attempt = attempt(&run, "waits");
    let waits = attempt.0["waits"].as_array().expect("threads");
    let wait = waits.iter().find(|wait| wait["thread"] == "waits").expect("the thread");
    assert_eq!(
        wait["awaits"],
        serde_json::json!([
            "awaits core::future::pending::Pending<u32>",
            "async it::inner at tests/it.rs:13",
            "async it::outer at tests/it.rs:18",
            "async it::waits::{async block} at tests/it.rs:21",
        ]),
        "{run}"
    );
    let _said = run.says(&["    awaits core::future::pending::Pending<u32>\n"]);
}
