//! `debug`: gdb on a trace, forwards and backwards.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::RACES;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    leads_from_a_lost_update_to_both_stores,
    leads_from_a_fault_to_where_the_memory_went,
    shows_who_took_which_lock,
    goes_back_in_async_functions,
    sees_what_a_call_has_written,
    shows_each_process,
    conditions_are_evaluated_on_the_way,
    functions_are_called,
    stops_at_signals,
    moments_are_gone_to,
    needs_neither_program_nor_sources,
    mistakes_are_told,
    nonsense_is_survived,
];

/// A trace of a race that fails.
fn trace_of(world: &Harness, package: &str, directory: &Path) -> PathBuf {
    let race = RACES.iter().find(|race| race.package == package).expect("a race");
    let (attempt, _) = race.find(world, 3, directory);
    attempt.trace().expect("a trace")
}

/// What gdb says to these commands, one after another; none if there is no gdb.
fn gdb(world: &Harness, args: &[&str], trace: &Path, commands: &[&str]) -> Option<String> {
    if Command::new("gdb").arg("--version").stdout(Stdio::null()).status().is_err() {
        world.skip("debugging", "gdb is not installed");
        return None;
    }
    let directory = world.dir();
    let script = directory.path().join("script.gdb");
    fs::write(&script, commands.join("\n")).expect("a script");
    let mut command = Command::new(&world.tool.path);
    command.args(["rrtest", "debug"]).args(args).arg(trace).arg("--").args(["--batch", "-x"]).arg(&script);
    // Nobody's own settings.
    command.env("XDG_CONFIG_HOME", directory.path()).current_dir("/").stdin(Stdio::null());
    // gdb says what `monitor` answers on standard error: both belong into one order.
    let path = directory.path().join("said");
    let said = fs::File::create(&path).expect("a file");
    command.stdout(said.try_clone().expect("the same file")).stderr(said);
    let status = command.status().expect("a run");
    let text = String::from_utf8_lossy(&fs::read(&path).expect("what was said")).into_owned();
    assert!(status.success(), "{status}:\n{text}");
    // As gdb says it since version 16, and before.
    Some(text.replace("Reached end of recorded history; stopping.", "No more reverse-execution history."))
}

/// What follows the first of these texts that is found after the ones before.
fn after<'t>(text: &'t str, parts: &[&str]) -> &'t str {
    parts.iter().fold(text, |rest, part| {
        let found = rest.split_once(part);
        found.unwrap_or_else(|| panic!("no `{part}` after the ones before in:\n{text}")).1
    })
}

fn leads_from_a_lost_update_to_both_stores(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "lost-update", traces.path());
    let Some(text) = gdb(
        world,
        &[],
        &trace,
        &[
            "echo \\n<failure>\\n",
            "print meter.used.v.value",
            "watch -l meter.used.v.value",
            "reverse-continue",
            "backtrace",
            "echo \\n<other>\\n",
            "reverse-continue",
            "backtrace",
            "delete",
            "echo <schedule>\\n",
            "schedule 3",
            "when",
            "reverse-finish",
            "info threads",
        ],
    ) else {
        return;
    };
    let rest = after(
        &text,
        &[
            "every_transfer_counts: panicked at lost-update/tests/it.rs",
            "assertion `left == right` failed",
            "<failure>",
            "$1 = ",
            "hit Hardware watchpoint 1",
            "Old value = ",
            "New value = ",
            "lost_update::Meter::record",
        ],
    );
    // The store of the one, then that of the other.
    let other = after(rest, &["<other>", "hit Hardware watchpoint 1", "lost_update::Meter::record"]);
    let schedule = after(other, &["<schedule>"]).split("moment ").next().unwrap_or_default();
    let turns: Vec<&str> = schedule.lines().filter(|line| line.contains("(task ")).collect();
    assert!((4..=7).contains(&turns.len()), "{text}");
    let now: Vec<_> = turns.iter().filter(|turn| turn.starts_with(" now ")).collect();
    assert!(matches!(now[..], [turn] if turn.contains("lost-update/src/lib.rs:")), "{text}");
    assert!(schedule.contains(", preempted"), "{text}");
    after(other, &["every_transfer_"]);
    assert!(!text.contains("Unable") && !text.contains("Cannot"), "{text}");
}

fn leads_from_a_fault_to_where_the_memory_went(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "crash", traces.path());
    let commands =
        ["print current", "break crash::discard", "reverse-continue", "print entries", "up", "info source"];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["read_while_replacing: killed by SIGSEGV", "crash::Table::get", "$1 = "]);
    let (current, rest) = rest.split_once('\n').expect("a value");
    let rest = after(rest, &["hit Breakpoint 1, crash::discard", "$2 = "]);
    assert!(rest.starts_with(current), "the memory that is read is the one that is given back: {text}");
    after(rest, &["crash::Table::replace"]);
}

fn shows_who_took_which_lock(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "lock-order", traces.path());
    let commands = [
        "waits",
        "thread apply all backtrace 8",
        "break lock_order::Directory::join if $_thread",
        "break lock_order::Directory::disband",
        "reverse-continue",
        "echo <first>\\n",
        "reverse-continue",
        "next",
    ];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let waits = text.split("<first>").next().unwrap_or_default();
    for function in ["lock_order::Directory::join", "lock_order::Directory::disband"] {
        assert!(waits.contains(function), "{function} waits in:\n{text}");
    }
    let told = after(&text, &["here the recording ended:"]);
    after(told, &["waits for a mutex", "held by ", "waits for a mutex", "held by "]);
    let rest =
        after(&text, &["hit Breakpoint", "lock().unwrap()", "<first>", "hit Breakpoint", "lock().unwrap()"]);
    after(rest, &["lock().unwrap()"]);
}

fn goes_back_in_async_functions(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "async-order", traces.path());
    let commands = [
        "tbreak async-order/src/lib.rs:29",
        "reverse-continue",
        "echo <inside>\\n",
        "reverse-next",
        "reverse-next",
    ];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["entries_keep_their_order: panicked", "close::{async_fn#0}", "<inside>"]);
    after(rest, &["journal.close().await"]);
}

/// A file is read into a buffer.
const READ: &str = "
use std::io::Read;
#[test]
fn t() {
    let mut buffer = [0_u8; 64];
    let read = std::fs::File::open(\"Cargo.toml\").unwrap().read(&mut buffer).unwrap();
    assert_eq!(read, buffer[0].into());
}
";

fn sees_what_a_call_has_written(world: &Harness) {
    let project = Project::of_test(world, READ);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let commands = ["watch buffer[8]", "reverse-continue", "backtrace", "stepi"];
    // The frame of the test is chosen at the start.
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["t: panicked", "hit Hardware watchpoint 1", "Old value = ", "New value = 0"]);
    after(rest, &["read", "it::t ()", "Old value = 0", "New value = "]);
}

/// A handler is called twice before the test fails.
const SIGNALS: &str = "
use std::sync::atomic::{AtomicU64, Ordering};
static COUNT: AtomicU64 = AtomicU64::new(0);
unsafe extern \"C\" { fn signal(number: i32, handler: extern \"C\" fn(i32)) -> usize; fn raise(number: i32) -> i32; }
extern \"C\" fn count(number: i32) { COUNT.fetch_add(number as u64, Ordering::SeqCst); }
#[test]
fn t() {
    unsafe { signal(10, count); signal(12, count); raise(10); raise(12); raise(10); }
    assert_eq!(COUNT.load(Ordering::SeqCst), 0);
}
";

fn stops_at_signals(world: &Harness) {
    let project = Project::of_test(world, SIGNALS);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let commands = [
        "reverse-continue",
        "bt 3",
        "handle SIGUSR2 nostop noprint pass",
        "reverse-continue",
        "print $rdi",
        "reverse-continue",
        "echo <begin>\\n",
        "continue",
        "handle SIGUSR2 stop print",
        "continue",
        "print $rdi",
        "break it::count",
        "continue",
        "continue",
        "echo <end>\\n",
    ];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["received signal SIGUSR1", "it::count", "<signal handler called>", "kill"]);
    let rest =
        after(rest, &["received signal SIGUSR1", "= 10", "No more reverse-execution history", "<begin>"]);
    let rest = after(rest, &["received signal SIGUSR1", "received signal SIGUSR2", "= 12"]);
    // The handler has begun in front of its breakpoint.
    after(rest, &["hit Breakpoint 1", "it::count (number=12)", "received signal SIGUSR1", "<end>"]);
}

/// A program is started, and waits while the test fails.
const PROCESSES: &str = "
use std::process::{Command, Stdio};
#[test]
fn t() {
    let mut child = Command::new(\"cat\").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    use std::io::{Read, Write};
    child.stdin.as_mut().unwrap().write_all(b\"x\").unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(byte[0], b'y');
}
";

fn shows_each_process(world: &Harness) {
    let project = Project::of_test(world, PROCESSES);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let Some(text) = gdb(world, &[], &trace, &["ps", "info inferiors"]) else { return };
    let line =
        text.lines().find(|line| line.ends_with("/cat")).unwrap_or_else(|| panic!("no cat in:\n{text}"));
    let number = line.split_whitespace().skip_while(|word| *word != "process").nth(1).expect("a number");
    let commands = ["info threads", "backtrace 1", "reverse-continue", "when", "continue", "when"];
    let child = gdb(world, &["--pid", number], &trace, &commands).expect("gdb is there");
    after(&child, &["cat"]);
    // It goes back to where the program was started, and forwards to where it ended, and no further.
    after(
        &child,
        &[
            "read",
            "No more reverse-execution history",
            "moment ",
            "No more reverse-execution history",
            "moment ",
        ],
    );
    let none = Command::new(&world.tool.path)
        .args(["rrtest", "debug", "--pid", "4242"])
        .arg(&trace)
        .current_dir("/")
        .output()
        .expect("a run");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no process 4242 here"));
}

/// A function that is called ten thousand times before the test fails.
const LOOP: &str = "
#[inline(never)]
fn f(n: u64) -> u64 { std::hint::black_box(n) + 1 }
#[test]
fn t() {
    let sum: u64 = (0..10_000).map(f).sum();
    assert_eq!(sum, 0);
}
";

fn conditions_are_evaluated_on_the_way(world: &Harness) {
    let project = Project::of_test(world, LOOP);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let commands = [
        "break it::f if n == 77",
        "reverse-continue",
        "print n",
        "reverse-continue",
        "echo <begin>\\n",
        "continue",
    ];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    after(
        &text,
        &["hit Breakpoint 1", "$1 = 77", "No more reverse-execution history", "<begin>", "hit Breakpoint 1"],
    );
}

/// A test that fails with functions to call at hand.
const CALLABLE: &str = "
use std::sync::atomic::{AtomicU64, Ordering};
static COUNT: AtomicU64 = AtomicU64::new(0);
#[inline(never)]
fn count(n: u64) -> u64 { COUNT.fetch_add(n, Ordering::SeqCst) + n }
#[inline(never)]
fn halve(x: f64) -> f64 { x / 2.0 }
#[inline(never)]
fn say(n: u64) -> usize { let text = format!(\"said {n}\"); println!(\"{text}\"); text.len() }
#[inline(never)]
fn fall(n: u64) -> u64 { unsafe { *(n as *const u64) } }
#[test]
fn t() {
    let held = std::sync::Mutex::new(vec![1, 2, 3]);
    let all = held.lock().unwrap();
    assert_eq!(count(2) + say(1) as u64 + halve(6.0) as u64 + fall(&raw const COUNT as u64), all.len() as u64);
}
";

fn functions_are_called(world: &Harness) {
    let project = Project::of_test(world, CALLABLE);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let commands = [
        "echo <begin>\n",
        "when",
        "print it::count(40)",
        "print it::count(40)",
        "print it::halve(5.0)",
        "print it::say(7)",
        "print it::COUNT",
        "break it::count",
        "print it::count(1)",
        "print n",
        "continue",
        "delete",
        "echo <fall>\n",
        "set unwindonsignal on",
        "print it::fall(8)",
        "echo <written>\n",
        "print $rbx = 77",
        "print $rbx",
        "when",
        "reverse-stepi",
        "print $rbx == 77",
        "explanation",
        "kill",
    ];
    // A command that fails ends a script.
    let commands: Vec<String> = commands
        .iter()
        .map(|command| format!("python\ntry: gdb.execute({command:?})\nexcept gdb.error as e: print(e)\nend"))
        .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["<begin>", "moment "]);
    let (moment, rest) = rest.split_once(':').expect("a moment");
    let rest = after(
        rest,
        &[
            "$1 = 42",
            // The first call has changed nothing.
            "$2 = 42",
            "$3 = 2.5",
            "said 7",
            "$4 = 6",
            "value: 2}",
            "hit Breakpoint 1, it::count (n=1)",
            "stopped while in a function called from GDB",
            "= 1\n",
            "<fall>",
            "SIGSEGV",
            "<written>",
            "= 77",
            &format!("moment {moment}:"),
            "what was written is dropped",
            "= false",
        ],
    );
    assert!(rest.contains("the trace has no explanation"), "{text}");
}

fn moments_are_gone_to(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "lost-update", traces.path());
    let commands = [
        "when",
        "checkpoint",
        "seek 60",
        "echo <there>\\n",
        "when",
        "stepi",
        "reverse-stepi",
        "when",
        "restart 1",
        "echo <back>\\n",
        "when",
        "events 2",
        "seek nonsense",
        "restart 7",
    ];
    let Some(text) = gdb(world, &[], &trace, &commands) else { return };
    let rest = after(&text, &["moment "]);
    let failure = rest.split(':').next().expect("a moment");
    let rest = after(rest, &["checkpoint 1 at event", "<there>", "moment 60:", "moment 60:", "<back>"]);
    let rest =
        after(rest, &[&format!("moment {failure}:"), "next", "is no moment", "there is no checkpoint 7"]);
    assert!(rest.contains("detached") || rest.trim().is_empty() || !rest.contains("internal"), "{text}");
    let at = gdb(world, &["--at", "60"], &trace, &["when"]).expect("gdb is there");
    after(&at, &["moment 60:"]);
}

fn needs_neither_program_nor_sources(world: &Harness) {
    let project = Project::of_test(world, LOOP);
    let trace = project.report(world, &["--no-chaos"], 101).traces().remove(0);
    let traces = world.dir();
    let copy = traces.path().join("failure.rrtrace");
    fs::copy(&trace, &copy).expect("a copy");
    let commands = ["backtrace -3", "list", "tbreak it::f", "reverse-continue", "print n"];
    let Some(before) = gdb(world, &[], &copy, &commands) else { return };
    fs::remove_dir_all(project.path()).expect("all of it goes");
    let after_all = gdb(world, &[], &copy, &commands).expect("gdb is there");
    // The files lie elsewhere each time.
    let plain =
        |text: &str| text.lines().filter(|line| !line.contains("/rrtest-")).collect::<Vec<_>>().join("\n");
    assert_eq!(plain(&after_all), plain(&before));
    after(&before, &["assert_eq!(sum, 0)", "= 9999"]);
    assert!(!after_all.contains("more recent than executable"), "{after_all}");
}

fn mistakes_are_told(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "lost-update", traces.path());
    let rrtest = |args: &[&str]| {
        let mut command = Command::new(&world.tool.path);
        command.args(["rrtest", "debug"]).args(args).arg(&trace).current_dir("/");
        command
    };
    for (args, says) in [
        (&["--gdb", "/nowhere/gdb"][..], "cannot start `/nowhere/gdb`"),
        (&["--at", "x.y"], "is no moment"),
        (&["--server", "99999"], "is no port"),
        (&["--server", "/nowhere/socket"], "cannot listen at `/nowhere/socket`"),
    ] {
        let run = Run::of(&mut rrtest(args)).expect(2);
        assert!(run.stderr.contains(says), "{run}");
    }
    let mut none = rrtest(&[]);
    none.env("PATH", "/nowhere");
    let run = Run::of(&mut none).expect(2);
    assert!(run.stderr.contains("there is no gdb in PATH"), "{run}");
}

/// Sends bytes to a server, until it has had enough of them.
fn send(socket: &Path, bytes: &[u8]) {
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(_) => std::thread::yield_now(),
        }
    };
    // It may hang up at any time.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
}

fn nonsense_is_survived(world: &Harness) {
    let traces = world.dir();
    let trace = trace_of(world, "lost-update", traces.path());
    let socket = traces.path().join("socket");
    let mut command = Command::new(&world.tool.path);
    command.args(["rrtest", "debug", "--server"]).arg(&socket).arg(&trace).current_dir("/");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = command.spawn().expect("a server");
    let packet = |text: &str| {
        let sum = text.bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte));
        format!("${text}#{sum:02x}").into_bytes()
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    const WORDS: &[&str] = &[
        "g",
        "p10",
        "m7ffff7000000,40",
        "mffffffffffffffff,ffff",
        "Z0,401000,1",
        "z0,401000,1",
        "Z2,7ffff7000000,8",
        "Z0,401000,1;X3,220127",
        "Z0,401000,1;Xffffffff,22",
        "vCont?",
        "qSupported:multiprocess+",
        "Hgp1.1",
        "Hc-1",
        "qfThreadInfo",
        "vFile:open:2f657463,0,0",
        "vFile:pread:3,1000,0",
        "vFile:close:ff",
        "qRcmd,7768656e",
        "T1",
        "qXfer:features:read:target.xml:0,fff",
        "qXfer:auxv:read::0,fff",
        "bs",
        "X0,0:",
        "G00",
        "P10=00",
        "P10=0000000000000000",
        "P7=00f0ffffff7f0000",
        "P28=00000000000000000000000000000000",
        "M7ffff7000000,4:01020304",
        "M7ffff7db0000,2:0000",
        "vCont;c",
        "vCont;s:1;c",
        "bc",
        "?",
        "!",
    ];
    // `RRTEST_FUZZ=N` makes N connections.
    let connections = std::env::var("RRTEST_FUZZ").map_or(40, |text| text.parse().expect("a number"));
    for _ in 0..connections {
        let mut bytes = Vec::new();
        for _ in 0..30 {
            let mut one = packet(WORDS[next() as usize % WORDS.len()]);
            if next() % 4 == 0 {
                let at = next() as usize % one.len();
                one[at] = next() as u8;
            }
            bytes.extend(one);
        }
        send(&socket, &bytes);
    }
    assert!(server.try_wait().expect("a child").is_none(), "it is still there");
    server.kill().expect("a living server");
    server.wait().expect("its end");
}
