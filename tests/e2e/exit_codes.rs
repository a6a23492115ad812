//! The exit codes that scripts rely on, with the messages that go with them.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use rrtest_engine::trace::event::{Backing, Effect, Event, FileId, FileRange};
use rrtest_engine::trace::file::unnamed::Unnamed;
use rrtest_engine::trace::file::writer::{self, Head};
use rrtest_engine::trace::log::Log;
use rrtest_engine::trace::{Source, Trace};
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    nothing_failed,
    no_test_matched,
    wrong_usage,
    the_build_failed,
    no_project,
    a_replay_diverged,
    a_replay_ended_otherwise,
    the_trace_directory_cannot_be_made,
    the_disk_is_full,
];

const GOOD: &str = "#[test]\nfn good() {}";
const BAD: &str = "#[test]\nfn bad() { panic!(\"on purpose\") }";

fn nothing_failed(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let _run = Run::of(&mut project.rrtest(world, &[])).expect(0).says(&["1 passed, 0 failed"]);
    let _built = Run::of(&mut project.rrtest(world, &["--no-run"])).expect(0);
    // Cargo calls us with our name first; by hand we are called without.
    let _by_hand = Run::of(Command::new(&world.tool.path).arg("ls").current_dir(project.path())).expect(0);
}

fn no_test_matched(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    for args in [&["nothing_like_it"][..], &["goo", "--", "--exact"], &["--", "--ignored"], &["--lib"]] {
        let _run = Run::of(&mut project.rrtest(world, args)).expect(4).says(&["no test matched"]);
    }
}

fn wrong_usage(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let wrong: [&[&str]; 6] = [
        &["--bogus"],
        &["--runs", "0"],
        &["--strategy", "luck"],
        &["--for", "soon"],
        &["--", "--bogus"],
        &["--target", "aarch64-unknown-linux-gnu"],
    ];
    for args in wrong {
        let run = Run::of(&mut project.rrtest(world, args)).expect(2);
        assert!(run.stderr.contains("error") && run.stdout.is_empty(), "{run}");
    }
    let _exec = Run::of(&mut project.rrtest(world, &["exec", "--", "no-such-program-anywhere"]))
        .expect(2)
        .says(&["no-such-program-anywhere"]);
}

fn the_build_failed(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn wrong() { let () = 1; }");
    // In rustc's own words.
    let _run = Run::of(&mut project.rrtest(world, &[])).expect(101).says(&["error[E0308]", "tests/it.rs:2"]);
    let json = Run::of(&mut project.rrtest(world, &["--message-format", "json"])).expect(101);
    assert!(json.text().starts_with("{\"event\":\"not_built\""), "{json}");
    let _run = Run::of(&mut project.rrtest(world, &["-p", "absent"])).expect(101).says(&["absent"]);
}

fn no_project(world: &Harness) {
    // Not below the workspace, where cargo would find one.
    let dir = tempfile::tempdir().expect("a directory");
    let _run = Run::of(&mut world.tool.cargo(dir.path())).expect(101).says(&["could not find `Cargo.toml`"]);
}

/// A copy of a trace with one event altered.
fn altered(trace: &Path, copy: &Path, alter: impl Fn(&mut Event) -> bool) {
    let trace = Trace::open(trace).expect("a trace");
    let mut events: Vec<_> = trace.events().collect::<Result<_, _>>().expect("events");
    let mut ranges: BTreeMap<FileId, Vec<FileRange>> = BTreeMap::new();
    for event in &events {
        let mapped: Vec<&Backing> = match event {
            Event::Image(image) => {
                image.mappings.iter().filter_map(|mapping| mapping.file.as_ref()).collect()
            }
            Event::Syscall(syscall) => match &syscall.effect {
                Effect::MapFile(backing) => vec![backing],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let loads = mapped.into_iter().flat_map(|backing| &backing.loads);
        loads.for_each(|load| ranges.entry(load.contents.file).or_default().push(load.contents));
    }
    let mut log = Log::default();
    for (file, ranges) in ranges {
        let mut contents = Vec::new();
        for range in ranges {
            let bytes = trace.file(range).expect("a file's contents");
            let (start, end) = (range.offset as usize, range.offset as usize + bytes.len());
            contents.resize(contents.len().max(end), 0);
            contents[start..end].copy_from_slice(&bytes);
        }
        assert_eq!(log.map_bytes(Path::new("a file"), contents), file);
    }
    assert!(events.iter_mut().rev().any(alter), "there is no such event");
    events.into_iter().for_each(|event| log.push(event));
    let out = Unnamed::create(copy.parent().expect("a directory")).expect("a file");
    let head = Head {
        program: trace.program().clone(),
        ending: trace.ending().clone(),
        stats: trace.stats(),
        info: trace.info().clone(),
    };
    writer::write(&log, &head, &[], &out).expect("a trace");
    out.name(copy).expect("a name");
}

/// The replay of this trace diverges, and says where.
fn diverged(world: &Harness, trace: &Path) {
    let says = ["diverged at event", "thread `", "expected:", "found:"];
    let _run = Run::of(&mut elsewhere(world, trace)).expect(3).says(&says);
    let mut backtrace = world.tool.cargo(Path::new("/"));
    let _run = Run::of(backtrace.arg("backtrace").arg(trace)).expect(3).says(&says);
}

fn a_replay_diverged(world: &Harness) {
    let project = Project::of_test(world, BAD);
    let trace = project.report(world, &[], 101).traces().remove(0);
    let copy = trace.with_file_name("copy.rrtrace");
    altered(&trace, &copy, |_| true);
    let _same = Run::of(&mut elsewhere(world, &copy)).expect(0).says(&["on purpose", "is not verified"]);

    let copy = trace.with_file_name("registers.rrtrace");
    altered(&trace, &copy, |event| match event {
        Event::Syscall(syscall) if matches!(syscall.effect, Effect::Output(..)) => {
            syscall.position.registers.0[0] ^= 1;
            true
        }
        _ => false,
    });
    diverged(world, &copy);

    let copy = trace.with_file_name("output.rrtrace");
    altered(&trace, &copy, |event| match event {
        Event::Syscall(syscall) => match &mut syscall.effect {
            Effect::Output(_, bytes) => {
                bytes[0] ^= 1;
                true
            }
            _ => false,
        },
        _ => false,
    });
    diverged(world, &copy);

    let copy = trace.with_file_name("call.rrtrace");
    altered(&trace, &copy, |event| match event {
        Event::Syscall(syscall) if matches!(syscall.effect, Effect::Output(..)) => {
            syscall.number += 1;
            true
        }
        _ => false,
    });
    diverged(world, &copy);
}

fn a_replay_ended_otherwise(world: &Harness) {
    let project = Project::of_test(world, BAD);
    let trace = project.report(world, &[], 101).traces().remove(0);
    let copy = trace.with_file_name("ending.rrtrace");
    altered(&trace, &copy, |event| match event {
        Event::Ended(ending) => {
            *ending = rrtest_engine::ending::Ending::Exited(7);
            true
        }
        _ => false,
    });
    diverged(world, &copy);
}

fn the_trace_directory_cannot_be_made(world: &Harness) {
    let project = Project::of_test(world, BAD);
    project.write("a file", "");
    let args = ["--message-format", "json", "--trace-dir", "a file/traces"];
    // The failure has been found all the same.
    let run = Run::of(&mut project.rrtest(world, &args)).expect(101);
    let report = Report::of(&run);
    assert_eq!(report.attempts[0].text("outcome"), "failed");
    let message = report.attempts[0].text("message");
    assert!(message.contains("a file/traces") && message.contains("Not a directory"), "{message}");
    assert_eq!(report.summary["failed"], serde_json::json!(["p::it bad"]));
}

/// A program that reads more than the disk takes, and nothing that compresses.
const RANDOM: &str = "
use std::io::Read;
fn main() {
    let mut random = std::fs::File::open(\"/dev/urandom\").unwrap();
    let mut bytes = vec![0; 1 << 20];
    (0..140).for_each(|_| random.read_exact(&mut bytes).unwrap());
}
";

/// Bytes that a file may have, which is as good as a full disk. The memory that recorder and program share is a file
/// too, of 132 MiB.
const DISK: u64 = 134 << 20;

fn the_disk_is_full(world: &Harness) {
    let project = Project::new(world, &[("src/main.rs", RANDOM)]);
    let (program, traces) = (project.program("p"), world.dir());
    let mut command = world.tool.cargo(project.path());
    command.args(["exec", "--keep", "always", "--trace-dir"]).arg(traces.path()).arg("--").arg(program);
    // SAFETY: both are async-signal-safe, and nothing else is done between fork and exec.
    unsafe {
        command.pre_exec(|| {
            signal(Signal::SIGXFSZ, SigHandler::SigIgn)?;
            setrlimit(Resource::RLIMIT_FSIZE, DISK, DISK).map_err(Into::into)
        });
    }
    let run =
        Run::of(&mut command).expect(70).says(&["cannot write a trace", "File too large", "free space"]);
    assert!(run.stderr.contains(&traces.path().display().to_string()), "names the directory: {run}");
    assert_eq!(rrtest_tests::traces(traces.path()), [] as [std::path::PathBuf; 0]);
}
