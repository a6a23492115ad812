//! The moment at which a program fails, found from its trace alone.

#[path = "programs/made.rs"]
#[expect(dead_code, reason = "these programs are not compiled by the C compiler")]
mod made;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use made::common::{GO_ON, PATIENCE, core};
use made::record;
use rrtest_engine::attach::{Wanted, attach};
use rrtest_engine::carried::Carried;
use rrtest_engine::ending::Frame;
use rrtest_engine::failure::{Failure, Find, Kind, find, go_to, stack_of};
use rrtest_engine::keep::keep;
use rrtest_engine::replay::{Options, Session, Why};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Trace;

/// `programs/fails.rs`, compiled.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fails");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/fails.rs");
        fs::copy(source, directory.path().join("fails.rs")).expect("a source");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let args = ["--edition=2024", "-g", "-o", "fails", "fails.rs"];
        let status = Command::new(rustc).args(args).current_dir(directory.path()).status();
        assert!(status.expect("rustc").success());
        (directory, path)
    });
    path
}

/// What a trace shows of a failure.
#[derive(Debug)]
struct Shown {
    failure: Failure,
    /// The names of the functions in which the task stands.
    functions: Vec<String>,
    /// Those of the program's own among its frames, each with its line's text.
    own: Vec<(String, String)>,
    task: String,
}

/// Records the program, and looks at the trace where neither program nor source are left.
fn shown(how: &str) -> Shown {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fails");
    let source = directory.path().join("fails.rs");
    // By others: what this process has open for writing, the processes that other tests fork have open as well for a
    // moment, and a program that somebody writes cannot be executed. What has just been written would not be attached.
    let done = |command: &mut Command| assert!(command.status().expect("a command").success());
    done(Command::new("cp").arg(program()).arg(&path));
    done(Command::new("touch").args(["-d", "@0"]).arg(&path));
    fs::copy(program().with_extension("rs"), &source).expect("a source");
    let recording = record(&path, &[how], directory.path(), StrategyName::Fair, 0);
    let trace = directory.path().join("trace");
    let kept = keep(&recording, &trace, &serde_json::Value::Null, core(), &GO_ON);
    assert!(kept.expect("a trace").divergence.is_none());
    // The compiler has named the source by the directory in which it worked.
    let compiled = program().with_extension("rs");
    let wanted = Wanted { debug_info: true, files: &[compiled], ..Wanted::default() };
    let left_out = attach(&trace, &wanted, &[]).expect("a trace with more");
    assert!(left_out.is_empty(), "{left_out:?}");
    fs::remove_file(path).expect("no program");

    let trace = Trace::open(&trace).expect("a trace");
    let carried = Carried::by(&trace).expect("its files");
    let how = Find { core: core(), stop: &GO_ON, patience: PATIENCE };
    let failure = find(&carried, how).expect("a failure");
    let mut push = |_, _: &[u8]| {};
    let options = Options { core: core(), stop: &GO_ON, patience: PATIENCE, watch: &[], output: &mut push };
    let mut session = Session::start(&trace, options).expect("a session");
    let report = go_to(&mut session, &failure.moment).expect("the moment");
    assert!(report.why != Why::Ended && report.event == failure.moment.event, "{report:?}");
    assert_eq!(report.ticks, failure.moment.ticks);
    let task = failure.moment.task;
    if let Some((address, _)) = failure.moment.stop {
        assert_eq!(report.task, task);
        assert_eq!(session.registers(task).expect("registers").expect("a task").ip(), address);
    }
    let mut symbols = carried.symbols(&session.mapped(task).expect("mappings")).expect("symbols");
    let stack = stack_of(&mut session, task, &mut symbols).expect("a stack");
    let frames = carried.frames(&mut symbols, &stack).expect("frames").concat();
    let name = |frame: &Frame| frame.function.clone().unwrap_or_default();
    let own = frames.iter().filter(|frame| name(frame).starts_with("fails::"));
    let own = own.map(|frame| {
        let text = frame
            .location
            .as_ref()
            .and_then(|place| carried.line(place).expect("a line"))
            .unwrap_or_default();
        (name(frame), text.trim().to_owned())
    });
    let name_of = |(id, name): (TaskId, &str)| (id == task).then(|| name.to_owned());
    Shown {
        own: own.collect(),
        functions: frames.iter().map(name).collect(),
        task: session.state().tasks().find_map(name_of).unwrap_or_default(),
        failure,
    }
}

/// Checks the innermost own function, and the text of its line.
fn is_in(shown: &Shown, function: &str, text: &str) {
    let innermost = shown.own.first().unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!((&*innermost.0, &*innermost.1), (function, text), "{shown:?}");
}

#[test]
fn the_panic_of_a_thread_that_is_joined() {
    let shown = shown("joined");
    assert_eq!((shown.failure.kind, &*shown.task), (Kind::Panic, "worker"));
    is_in(&shown, "fails::deep", "panic!(\"{words}\")");
    assert!(shown.functions[0].ends_with("rust_panic"), "{shown:?}");
}

#[test]
fn the_last_panic_if_own_code_has_caught_the_others() {
    let shown = shown("nearly");
    assert_eq!(shown.failure.kind, Kind::Panic);
    assert_eq!(shown.own[1].1, "deep(\"not caught\")", "{shown:?}");
}

#[test]
fn an_exit_if_all_panics_are_caught() {
    for (how, code) in [("caught", 3), ("passes", 0)] {
        let shown = shown(how);
        assert_eq!((shown.failure.kind, shown.failure.moment.stop), (Kind::Exit(code), None));
        if code == 3 {
            is_in(&shown, "fails::last_words", "std::process::exit(code)");
        }
    }
}

#[test]
fn the_instruction_or_the_call_that_kills() {
    let faulted = shown("faults");
    assert_eq!(faulted.failure.kind, Kind::Signal(libc::SIGSEGV));
    assert!(faulted.own.iter().any(|(function, _)| function == "fails::fault"), "{faulted:?}");
    let aborted = shown("aborts");
    assert_eq!(aborted.failure.kind, Kind::Signal(libc::SIGABRT));
    is_in(&aborted, "fails::main", "\"aborts\" => std::process::abort(),");
}

#[test]
fn a_deadlock_with_each_thread_where_it_waits() {
    let shown = shown("deadlocks");
    assert_eq!(shown.failure.kind, Kind::Deadlock);
    assert!(shown.own.iter().any(|(function, _)| function == "fails::deadlock"), "{shown:?}");
}

#[test]
fn a_panic_in_a_child_if_the_program_has_none_itself() {
    let shown = shown("child");
    assert_eq!(shown.failure.kind, Kind::Panic);
    assert!(shown.failure.moment.task > TaskId(0), "{shown:?}");
    assert_eq!(shown.own[1].1, "deep(\"not caught\")", "{shown:?}");
}
