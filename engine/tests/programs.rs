//! C programs that do what is hard to record: each is recorded under several seeds and replayed from memory.

mod common;
#[path = "programs/peers.rs"]
mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{GO_ON, PATIENCE, core, program};
use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::output::Output;
use rrtest_engine::record::{self, ForkServer, Processor, Recording, Time};
use rrtest_engine::replay::{self, Replayed};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::{Surprise, Surprises};
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::event::{Event, FileRange};
use rrtest_engine::trace::log::Log;
use rrtest_engine::trace::{Bytes, Machine, Source, TraceError};
use rrtest_engine::tracee::buffered_calls;

const STRATEGIES: [StrategyName; 3] = [StrategyName::Fair, StrategyName::Walk, StrategyName::Pct];

/// The program of this name, compiled by the C compiler that rustc links with, too.
fn compile(name: &str, directory: &Path) -> PathBuf {
    compile_with(name, directory, &[])
}

fn compile_with(name: &str, directory: &Path, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let program = directory.join(name);
    let status = Command::new("cc")
        .args(flags)
        .args(["-O1", "-D_GNU_SOURCE", "-pthread", "-w", "-o"])
        .args([&program, &source])
        .status()
        .expect("a C compiler, `cc`");
    assert!(status.success(), "cc fails on {}", source.display());
    program
}

fn record(path: &Path, args: &[&str], directory: &Path, strategy: StrategyName, seed: u64) -> Recording {
    record_for(PATIENCE, path, args, directory, strategy, seed)
}

fn record_for(
    timeout: Duration,
    path: &Path,
    args: &[&str],
    directory: &Path,
    strategy: StrategyName,
    seed: u64,
) -> Recording {
    let program = program(path, args, directory);
    record::record(&program, &options(timeout, strategy, seed)).expect("a recording")
}

fn options(timeout: Duration, strategy: StrategyName, seed: u64) -> record::Options<'static> {
    // A fair schedule usually has none.
    let surprised = strategy != StrategyName::Fair || seed % 4 > 1;
    let surprises = if surprised { Surprises::USUAL } else { Surprises::NONE };
    record::Options { surprises, timeout, ..common::options(strategy, seed) }
}

/// The cores that we may use.
fn cores() -> Vec<usize> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

fn replay_recording(recording: &Recording) -> Result<(Replayed, Output), Error> {
    replay_on(core(), recording)
}

fn replay_on(core: usize, recording: &Recording) -> Result<(Replayed, Output), Error> {
    let mut output = Output::default();
    let options = replay::Options {
        watch: &[],
        core,
        stop: &GO_ON,
        patience: Duration::from_secs(60),
        output: &mut |stream, bytes| output.push(stream, bytes),
    };
    let replayed = replay::replay(&recording.log, options)?;
    Ok((replayed, output))
}

/// Record and replay the program; each recording must end as said, each replay as its recording.
fn check(name: &str, args: &[&str], ending: &Ending) {
    check_seeds(0..4, name, args, ending);
}

fn check_seeds(seeds: std::ops::Range<u64>, name: &str, args: &[&str], ending: &Ending) {
    check_ending(seeds, name, args, &|end| end == ending);
}

/// The same for a program that a signal kills.
fn check_killed(name: &str, args: &[&str], number: i32) {
    check_ending(0..4, name, args, &|end| matches!(end, Ending::Killed { signal, .. } if *signal == number));
}

fn check_ending(seeds: std::ops::Range<u64>, name: &str, args: &[&str], is_right: &dyn Fn(&Ending) -> bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let mut fork_server =
        ForkServer::start(&program(&path, args, directory.path()), &options(PATIENCE, StrategyName::Fair, 0))
            .expect("a start");
    for strategy in STRATEGIES {
        for seed in seeds.clone() {
            // Started anew and copied by turns.
            let recording = match &mut fork_server {
                Ok(fork_server) if seed % 2 == 1 => {
                    fork_server.record(&options(PATIENCE, strategy, seed)).expect("a recording")
                }
                _ => record(&path, args, directory.path(), strategy, seed),
            };
            let said = text(&recording);
            assert!(is_right(&recording.ending), "{strategy:?} {seed}: {:?} {said}", recording.ending);
            let (replayed, output) = replay_recording(&recording)
                .unwrap_or_else(|error| panic!("{strategy:?} {seed}: {error}\n{said}"));
            assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
            assert_eq!(output, recording.output);
        }
    }
}

/// What an early call, or what the program does before it, makes of its start.
fn start_of(early: &str) -> (Result<ForkServer, String>, Recording) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("early", directory.path());
    let program = program(&path, &[early], directory.path());
    let fork_server =
        ForkServer::start(&program, &options(PATIENCE, StrategyName::Fair, 0)).expect("a start");
    (fork_server, record::record(&program, &options(PATIENCE, StrategyName::Walk, 7)).expect("a recording"))
}

fn text(recording: &Recording) -> String {
    recording.output.beginning().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}

#[test]
fn copies_see_what_new_starts_would() {
    for early in ["id", "time", "random", "counter", "file", "output", "nothing"] {
        let (fork_server, full) = start_of(early);
        let mut fork_server = fork_server.unwrap_or_else(|reason| panic!("{early}: {reason}"));
        let mut said = Vec::new();
        for _ in 0..3 {
            let copy = fork_server.record(&options(PATIENCE, StrategyName::Walk, 7)).expect("a recording");
            // The program checks itself that its ids are its own.
            assert_eq!(copy.ending, Ending::Exited(0), "{early}: {}", text(&copy));
            assert_eq!(copy.stats, full.stats, "{early}: equal seeds");
            let (replayed, output) =
                replay_recording(&copy).unwrap_or_else(|error| panic!("{early}: {error}"));
            assert_eq!((replayed.ending, replayed.stats), (copy.ending.clone(), copy.stats), "{early}");
            assert_eq!(output, copy.output, "{early}");
            said.push(text(&copy));
        }
        let alike = said.iter().all(|text| *text == said[0]);
        match early {
            "id" | "time" => assert!(!alike, "{early}: {said:?}"),
            _ => assert!(alike && said[0] == text(&full), "{early}: {said:?}"),
        }
    }
}

#[test]
fn random_numbers_are_those_of_the_seed() {
    let (fork_server, full) = start_of("random");
    let mut fork_server = fork_server.unwrap_or_else(|reason| panic!("{reason}"));
    let mut random =
        |seed| text(&fork_server.record(&options(PATIENCE, StrategyName::Walk, seed)).expect("a recording"));
    assert_eq!(random(7), text(&full));
    assert_ne!(random(8), random(9));
}

#[test]
fn what_cannot_be_copied_says_why() {
    for (early, why) in
        [("text", "different each time"), ("open", "files open"), ("crash", "does not start up")]
    {
        let (fork_server, full) = start_of(early);
        let reason = fork_server.err().unwrap_or_else(|| panic!("{early}: a template"));
        assert!(reason.contains(why), "{early}: {reason}");
        match early {
            "crash" => assert!(matches!(full.ending, Ending::Killed { signal: libc::SIGSEGV, .. })),
            _ => assert_eq!(full.ending, Ending::Exited(0), "{early}: {}", text(&full)),
        }
    }
}

#[test]
fn several_threads_read_one_pipe() {
    check("two_readers", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_for_descriptors_that_only_they_have() {
    check("apart", &[], &Ending::Exited(0));
}

#[test]
fn a_write_that_a_pipe_has_no_room_for() {
    check("bigpipe", &[], &Ending::Exited(0));
}

#[test]
fn threads_start_while_another_is_in_the_kernel() {
    check("spawn_while_blocked", &[], &Ending::Exited(0));
}

#[test]
fn outputs_are_bounded_by_their_buffers() {
    check("outs", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_for_file_locks() {
    check("flocks", &["ofd"], &Ending::Exited(0));
    check("flocks", &["flock"], &Ending::Exited(0));
}

#[test]
fn threads_meet_at_a_fifo() {
    check("flocks", &["open"], &Ending::Exited(0));
}

#[test]
fn processes_fork_and_are_waited_for() {
    check("forks", &["forks"], &Ending::Exited(0));
    check("forks", &["orphans"], &Ending::Exited(0));
}

#[test]
fn processes_borrow_memory_and_execute_programs() {
    check("forks", &["vforks"], &Ending::Exited(0));
    check("forks", &["itself"], &Ending::Exited(0));
}

#[test]
fn a_program_takes_the_place_of_several_threads() {
    check("forks", &["exec"], &Ending::Exited(0));
    check("forks", &["exec-other"], &Ending::Exited(0));
}

#[test]
fn processes_are_killed() {
    check("forks", &["kills"], &Ending::Exited(0));
    check("forks", &["mourns"], &Ending::Exited(0));
}

/// What tells one moment of a spinning thread from another is different in each.
const SPINS: [&str; 11] = [
    "pure",
    "pause",
    "tight",
    "register",
    "memory",
    "nested",
    "calls",
    "system calls",
    "floats",
    "random",
    "strings",
];

#[test]
fn a_thread_that_spins_lets_others_run() {
    for way in SPINS {
        check_seeds(0..1, "spins", &[way], &Ending::Exited(0));
    }
}

#[test]
fn a_thread_that_spins_gets_its_signals() {
    for way in ["pure", "register", "calls"] {
        check_seeds(0..1, "spins", &[way, "by signal"], &Ending::Exited(0));
    }
}

/// Whatever a thread does, its recording ends at the time limit, and its replay at the same instruction.
#[test]
fn a_thread_that_spins_for_ever_hangs() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("spins", directory.path());
    for seed in 0..2 {
        let recording = record_for(
            Duration::from_secs(2),
            &path,
            &["forever"],
            directory.path(),
            StrategyName::Walk,
            seed,
        );
        assert!(matches!(recording.ending, Ending::Hung { .. }), "{:?}", recording.ending);
        let events: Vec<Event> = recording.log.events().collect::<Result<_, _>>().expect("events");
        let last = &events[events.len() - 3..];
        assert!(matches!(last, [_, Event::AsyncStop(_), Event::Ended(_)]), "{last:?}");
        let (replayed, _) = replay_recording(&recording).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    }
}

/// Prints what pins cost: for each way to spin, the pins and the time of a recording and of its replay.
#[test]
#[ignore = "a measurement, not a test"]
fn what_pins_cost() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("spins", directory.path());
    let only = std::env::var("WAY").ok();
    for way in SPINS.into_iter().chain(["computes"]).filter(|way| only.as_deref().is_none_or(|it| it == *way))
    {
        for seed in 0..3 {
            let recording = record(&path, &[way], directory.path(), StrategyName::Fair, seed);
            let async_stops = || {
                recording.log.events().filter_map(|event| match event {
                    Ok(Event::AsyncStop(async_stop)) => Some(async_stop),
                    _ => None,
                })
            };
            let words: Vec<usize> = async_stops().map(|async_stop| async_stop.words.len()).collect();
            let start = Instant::now();
            let replayed = replay_recording(&recording);
            println!(
                "{way:10} {seed}: {:?}, pins with {words:?} words, recorded in {:?}, replayed in {:?}: {:?}",
                recording.ending,
                recording.wall,
                start.elapsed(),
                replayed.map(|it| it.0.ending == recording.ending),
            );
            if only.is_some() {
                async_stops().for_each(|async_stop| println!("{async_stop:x?}"));
            }
        }
    }
}

#[test]
fn files_are_mapped_shared() {
    check("shared_file", &[], &Ending::Exited(0));
}

#[test]
fn files_are_mapped_past_their_end() {
    check("past_the_end", &[], &Ending::Exited(0));
}

#[test]
fn files_change_while_they_are_mapped_privately() {
    check("private_file", &[], &Ending::Exited(0));
}

#[test]
fn processes_share_memory() {
    check("shared_fork", &[], &Ending::Exited(0));
}

#[test]
fn code_is_written_at_run_time() {
    check("jit", &[], &Ending::Exited(0));
}

#[test]
fn clocks_and_random_numbers_are_read_by_instructions() {
    check("reads", &[], &Ending::Exited(0));
}

#[test]
fn the_processor_is_the_one_that_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let dynamic = compile("processor", directory.path());
    let machine = Command::new(&dynamic).output().expect("a run").stdout;
    let machine = String::from_utf8(machine).expect("text");
    for (flags, name) in [(&[][..], "dynamic"), (&["-static"], "static"), (&["-static-pie"], "static-pie")] {
        let directory = tempfile::tempdir_in(directory.path()).expect("a directory");
        let path = compile_with("processor", directory.path(), flags);
        for processor in Processor::ALL {
            let program = program(&path, &[], directory.path());
            let options = options(PATIENCE, StrategyName::Fair, 0);
            let recording = record::record(&program, &record::Options { processor, ..options });
            let recording = recording.expect("a recording");
            assert_eq!(text(&recording), seen(processor, &machine), "{name}, {processor}");
            let (replayed, output) = replay_recording(&recording).expect("a replay");
            assert_eq!((&replayed.ending, output), (&recording.ending, recording.output));
        }
    }
}

#[test]
fn vector_registers_live_across_signals() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("vectors", directory.path());
    let natively = Command::new(&path).output().expect("a run").stdout;
    for processor in [Processor::V2, Processor::V3, Processor::Native] {
        let program = program(&path, &[], directory.path());
        let options = options(PATIENCE, StrategyName::Fair, 0);
        let recording = record::record(&program, &record::Options { processor, ..options });
        let recording = recording.expect("a recording");
        // Without AVX there is a line less.
        let text = text(&recording);
        assert!(String::from_utf8_lossy(&natively).starts_with(&text) && !text.is_empty(), "{text}");
        let (replayed, output) = replay_recording(&recording).expect("a replay");
        assert_eq!((&replayed.ending, output), (&recording.ending, recording.output), "{processor}");
    }
}

/// What the program says with this processor, from what it says without a recorder.
fn seen(processor: Processor, machine: &str) -> String {
    let hidden: &[(&str, &str)] = match processor {
        Processor::Native => return machine.to_owned(),
        Processor::V2 => {
            &[("avx 1", "avx 0"), ("avx2 1", "avx2 0"), ("avx512f 1", "avx512f 0"), ("rdrand 1", "rdrand 0")]
        }
        Processor::V3 => &[("avx512f 1", "avx512f 0"), ("rdrand 1", "rdrand 0")],
        Processor::V4 => &[("rdrand 1", "rdrand 0")],
    };
    let all = hidden.iter().fold(machine.to_owned(), |text, (shown, hidden)| text.replace(shown, hidden));
    let states = |line: &str| match (processor, line.strip_prefix("states ")) {
        (Processor::V2, Some(_)) => None,
        (_, Some(states)) => {
            let kept = if processor == Processor::V3 { 0x7 } else { 0xe7 };
            Some(format!("states {:x}\n", u64::from_str_radix(states, 16).expect("a number") & kept))
        }
        (_, None) => Some(format!("{line}\n")),
    };
    all.lines().filter_map(states).collect()
}

/// A recording in which the program has got other random bytes.
struct OtherRandom<'a>(&'a Log);

impl Source for OtherRandom<'_> {
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        Box::new(self.0.events().map(|event| {
            let mut event = event?;
            if let Event::Syscall(call) = &mut event
                && call.number == libc::SYS_getrandom as u64
                && call.args[1] == 5
            {
                call.writes[0].bytes[2] ^= 1;
            }
            Ok(event)
        }))
    }

    fn machine(&self) -> &Machine {
        self.0.machine()
    }

    fn file(&self, range: FileRange) -> Result<Bytes, TraceError> {
        self.0.file(range)
    }
}

#[test]
fn a_replay_that_writes_something_else_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("written", directory.path());
    for (way, says) in [
        ("output", "to standard output: `"),
        ("warm output", "to standard output: `"),
        ("error pieces", "10 bytes to standard error: `plain"),
        ("file", "write to descriptor 3 of 5 bytes"),
        ("warm file", "write"),
        ("place", "pwrite64 to descriptor 3 of 5 bytes"),
        ("pieces", "writev to descriptor 3 of 10 bytes"),
        ("sent", "sendto to descriptor 4 of 5 bytes"),
        ("message", "sendmsg to descriptor 4 of 10 bytes"),
    ] {
        let recording = record(&path, &[way], directory.path(), StrategyName::Fair, 0);
        assert_eq!(recording.ending, Ending::Exited(0), "{way}");
        replay_recording(&recording).unwrap_or_else(|error| panic!("{way}: {error}"));
        let options = replay::Options {
            watch: &[],
            core: core(),
            stop: &GO_ON,
            patience: PATIENCE,
            output: &mut |_, _| {},
        };
        match replay::replay(&OtherRandom(&recording.log), options) {
            Err(Error::Diverged(it)) => {
                assert!(it.expected.contains(says) && it.found.contains(says), "{way}: {it}");
                assert_ne!(it.expected, it.found, "{way}");
            }
            other => panic!("{way}: {other:?}"),
        }
    }
}

/// In virtual time the counter fast-forwards with the clocks. The program has one instruction that cannot be moved.
#[test]
fn what_instructions_read_agrees_with_the_clocks_and_leaves_signals_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("reads", directory.path());
    let program = program(&path, &[], directory.path());
    for time in Time::ALL {
        let options = record::Options { time, ..options(PATIENCE, StrategyName::Fair, 0) };
        let recording = record::record(&program, &options).expect("a recording");
        let said = text(&recording);
        let count = |line: &str| said.lines().filter(|it| it.contains(line)).count();
        assert_eq!(recording.ending, Ending::Exited(0), "{said}");
        assert_eq!((count("rates agree"), count("went back")), (2, 0), "{time:?} {said}");
        // Three signals, before execve(2) and behind it.
        assert_eq!((count("blocked 0 ignored 0"), count("blocked 1 ignored 1")), (6, 6), "{said}");
        let (_, output) = replay_recording(&recording).expect("a faithful replay");
        assert_eq!(output, recording.output);
        let trapped =
            recording.log.events().filter(|event| matches!(event, Ok(Event::TrappedRead(_)))).count();
        assert!(trapped >= 2, "one in each of two programs: {trapped}");
        assert_eq!(recording.fast_forwards > 0, time == Time::Virtual);
    }
}

/// The dynamic linker keeps what cpuid says, and that names the core.
#[test]
fn the_core_on_which_a_replay_runs_does_not_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("reads", directory.path());
    let program = program(&path, &["again"], directory.path());
    let cores = cores();
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let options = |core| record::Options { core, ..options(PATIENCE, StrategyName::Fair, 0) };
    let recorded = |core| record::record(&program, &options(core)).expect("a recording");
    let (here, there) = (recorded(first), recorded(last));
    for (recording, core) in [(&here, last), (&there, first)] {
        let (_, output) = replay_on(core, recording).expect("a faithful replay");
        assert_eq!(output, recording.output);
    }
    let of_processor = |recording: &Recording| {
        text(recording).lines().filter(|line| line.contains("APIC")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of_processor(&here), of_processor(&there));
    assert_eq!(of_processor(&here).len(), 2);
}

/// Equal seeds, equal random numbers, whatever instruction or call they come from.
#[test]
fn random_instructions_give_those_of_the_seed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("reads", directory.path());
    let program = program(&path, &["again"], directory.path());
    let random = |seed| {
        let options = options(PATIENCE, StrategyName::Walk, seed);
        // No level of a virtual processor has them.
        let options = record::Options { processor: Processor::Native, ..options };
        let recording = record::record(&program, &options).expect("a recording");
        text(&recording)
            .lines()
            .filter(|line| line.starts_with("random"))
            .map(str::to_owned)
            .collect::<String>()
    };
    let has = std::arch::is_x86_feature_detected!("rdrand");
    assert_eq!(random(7).is_empty(), !has);
    assert_eq!(random(7), random(7));
    assert!(!has || random(7) != random(8));
}

#[test]
fn memory_is_shaped() {
    check("advice", &[], &Ending::Exited(0));
}

#[test]
fn calls_fail_half_way() {
    check("partial", &[], &Ending::Exited(0));
}

#[test]
fn corners_of_calls() {
    check("corners", &[], &Ending::Exited(0));
}

#[test]
fn terminals_stop_who_is_in_the_background() {
    check("terminals", &[], &Ending::Exited(0));
}

#[test]
fn signals_to_groups() {
    check_killed("groups", &[], libc::SIGABRT);
}

#[test]
fn programs_end_in_the_middle_of_calls() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("unsupported", directory.path());
    for seed in 0..8 {
        let time = Duration::from_millis(100);
        let recording = record_for(time, &path, &["for ever"], directory.path(), StrategyName::Fair, seed);
        assert!(matches!(recording.ending, Ending::Hung { .. }), "{:?}", recording.ending);
        let (replayed, _) = replay_recording(&recording).expect("a replay");
        assert_eq!(replayed.stats, recording.stats);
    }
}

#[test]
fn files_are_larger_than_memory() {
    check("sparse", &[], &Ending::Exited(0));
}

#[test]
fn select_waits_for_sets_of_descriptors() {
    check("selects", &[], &Ending::Exited(0));
}

#[test]
fn calls_that_do_not_stop() {
    check("buffered", &[], &Ending::Exited(0));
}

#[test]
fn calls_that_do_not_stop_are_those_of_static_programs_too() {
    /// read, write, close, lseek, mmap, rt_sigprocmask, futex, sched_getaffinity, clock_gettime, openat, set_robust_list.
    const NUMBERS: [u64; 11] = [0, 1, 3, 8, 9, 14, 202, 204, 228, 257, 273];
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile_with("buffered", directory.path(), &["-static"]);
    let recording = record(&path, &[], directory.path(), StrategyName::Walk, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let mut made = std::collections::BTreeSet::new();
    for event in recording.log.events() {
        if let Event::Buffered(log) = event.expect("an event") {
            made.extend(buffered_calls(&log).map(|call| call.number));
        }
    }
    assert!(NUMBERS.iter().all(|number| made.contains(number)), "{made:?}");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

#[test]
fn threads_take_turns() {
    check("turns", &[], &Ending::Exited(0));
}

/// What the tasks do between hand-overs: which task, and where it is at events that are there either way.
fn schedule(recording: &Recording) -> Vec<(TaskId, Vec<(u64, u32)>)> {
    let mut turns: Vec<(TaskId, Vec<(u64, u32)>)> = Vec::new();
    let has_core = |turns: &mut Vec<(TaskId, Vec<(u64, u32)>)>, task| {
        if turns.last().is_none_or(|(last, _)| *last != task) {
            turns.push((task, Vec::new()));
        }
    };
    for event in recording.log.events() {
        match event.expect("an event") {
            Event::Run { task, .. } => has_core(&mut turns, task),
            Event::Buffered(log) => {
                for handed in buffered_calls(&log).filter_map(|call| call.handed) {
                    turns.last_mut().expect("a task").1.push((handed.left.into(), handed.sp));
                    has_core(&mut turns, TaskId(handed.task));
                }
            }
            Event::Tick(position) | Event::Entered(position) => {
                turns.last_mut().expect("a task").1.push((position.left, position.registers.sp() as u32));
            }
            _ => {}
        }
    }
    turns
}

#[test]
fn the_schedule_is_the_same_whether_wakes_and_calls_stop_or_not() {
    for (name, args) in [("turns", &[][..]), ("relay", &["limits"])] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = compile(name, directory.path());
        for seed in 0..8 {
            let [neither, wakes, calls] =
                [(false, false), (true, false), (false, true)].map(|(wakes_stop, calls_stop)| {
                    let options = record::Options {
                        wakes_stop,
                        calls_stop,
                        time: Time::Virtual,
                        ..options(PATIENCE, StrategyName::Fair, seed)
                    };
                    record::record(&program(&path, args, directory.path()), &options).expect("a recording")
                });
            assert_eq!(neither.ending, Ending::Exited(0));
            for other in [wakes, calls] {
                assert_eq!(schedule(&other), schedule(&neither), "{name}, seed {seed}");
                assert_eq!(other.stats, neither.stats, "{name}, seed {seed}");
            }
        }
    }
}

/// Threads that only wait for each other hand the core over without a stop.
#[test]
fn who_waits_under_the_fair_strategy_hands_the_core_over() {
    const HAND_OVERS: usize = 4 * 400;
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("relay", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let mut handed = 0;
    let mut events = 0;
    for event in recording.log.events() {
        events += 1;
        if let Event::Buffered(log) = event.expect("an event") {
            handed += buffered_calls(&log).filter(|call| call.handed.is_some()).count();
        }
    }
    assert!(handed > HAND_OVERS * 9 / 10 && events < HAND_OVERS, "{handed} hand-overs, {events} events");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

#[test]
fn hand_overs_and_what_comes_in_between() {
    for what in ["plain", "limits", "signals", "alarms", "threads", "forks", "sleeps"] {
        check("relay", &[what], &Ending::Exited(0));
    }
    check("relay", &["ends"], &Ending::Exited(3));
    check_killed("relay", &["crashes"], libc::SIGSEGV);
    check_ending(0..4, "relay", &["deadlocks"], &|end| matches!(end, Ending::Deadlocked(_)));
}

#[test]
fn one_that_got_the_core_from_another_can_be_pinned() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("relay", directory.path());
    let recording = record(&path, &["spins"], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let async_stops = recording.log.events().filter(|event| matches!(event, Ok(Event::AsyncStop(_)))).count();
    assert!(async_stops > 0, "never pinned");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

/// Threads that wait at a call site do not keep it from being patched, and who wakes them does not stop.
#[test]
fn who_wakes_others_under_the_fair_strategy_does_not_stop() {
    const FUTEX_WAKE: u64 = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u64;
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("turns", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let (mut stopped, mut buffered) = (0, 0);
    for event in recording.log.events() {
        match event.expect("an event") {
            Event::Syscall(call) if call.number == 202 && call.args[1] == FUTEX_WAKE => stopped += 1,
            Event::Buffered(log) => {
                buffered += buffered_calls(&log).filter(|call| call.number == 202 && call.result > 0).count();
            }
            _ => {}
        }
    }
    // Where a waiter has chosen its wakes, who wakes it stops.
    assert!(buffered > 500 && stopped < buffered, "{stopped} wakes stopped, {buffered} did not");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

#[test]
fn several_messages_at_once() {
    check("messages", &[], &Ending::Exited(0));
}

#[test]
fn timers_and_waited_for_signals() {
    check("timers", &[], &Ending::Exited(0));
}

#[test]
fn attributes_handles_and_mounts_of_files() {
    check("files", &[], &Ending::Exited(0));
}

#[test]
fn terminals_interfaces_and_other_devices() {
    check("ioctls", &[], &Ending::Exited(0));
}

#[test]
fn message_queues_and_semaphores() {
    check("queues", &[], &Ending::Exited(0));
}

#[test]
fn options_and_commands() {
    check("controls", &[], &Ending::Exited(0));
}

#[test]
fn splicing_and_other_processes() {
    check("pipes", &[], &Ending::Exited(0));
    check("pipes", &["output"], &Ending::Exited(0));
}

#[test]
fn a_thread_splices_pipes_between_others() {
    check("spliced", &[], &Ending::Exited(0));
}

#[test]
fn a_call_that_cannot_be_recorded_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("unsupported", directory.path());
    for call in ["restart_syscall", "ptrace", "a 32-bit system call (`int $0x80`)"] {
        let recording = record(&path, &[call], directory.path(), StrategyName::Fair, 0);
        let (what, task, name) = (call.into(), TaskId(0), "unsupported".into());
        assert_eq!(recording.ending, Ending::Unsupported { what, task, name });
    }
}

#[test]
fn processes_write_each_others_memory() {
    check("other_memory", &[], &Ending::Exited(0));
}

#[test]
fn mutexes_survive_their_holders() {
    check("robust", &[], &Ending::Exited(0));
}

#[test]
fn mutexes_are_handed_over() {
    check("inherit", &[], &Ending::Exited(0));
}

#[test]
fn signals_interrupt_calls_that_wait() {
    check("signals", &["waits"], &Ending::Exited(0));
    check("signals", &["restarts"], &Ending::Exited(0));
    check("signals", &["masks"], &Ending::Exited(0));
}

#[test]
fn signals_keep_their_order_and_values() {
    check("signals", &["queues"], &Ending::Exited(0));
    check("signals", &["nests"], &Ending::Exited(0));
}

#[test]
fn timers_send_signals() {
    check("signals", &["alarms"], &Ending::Exited(0));
    check("signals", &["timers"], &Ending::Exited(0));
    check("signals", &["vectors"], &Ending::Exited(0));
}

#[test]
fn programs_recover_from_faults() {
    check("signals", &["faults"], &Ending::Exited(0));
    check("signals", &["no-room"], &Ending::Exited(0));
    check("signals", &["no-room-for-faults"], &Ending::Exited(0));
}

#[test]
fn signals_reach_threads_and_processes() {
    check("signals", &["cancels"], &Ending::Exited(0));
    check("signals", &["leaves"], &Ending::Exited(0));
    check("signals", &["processes"], &Ending::Exited(0));
    check("signals", &["children"], &Ending::Exited(0));
}

#[test]
fn processes_are_stopped_and_continued() {
    check("signals", &["stops"], &Ending::Exited(0));
    check("signals", &["stops-threads"], &Ending::Exited(0));
}

#[test]
fn signals_kill() {
    check_killed("signals", &["reset"], libc::SIGTERM);
    check_killed("signals", &["pipes"], libc::SIGPIPE);
}

#[test]
fn threads_wait_in_the_kernel_for_what_is_written_to_them() {
    check("inside", &[], &Ending::Exited(0));
}

#[test]
fn waiting_in_the_kernel_for_each_other_is_a_deadlock() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("stuck", directory.path());
    for what in ["pipe", "pair", "epoll", "children"] {
        let recording = record(&path, &[what], directory.path(), StrategyName::Fair, 0);
        assert!(matches!(recording.ending, Ending::Deadlocked(_)), "{what}: {:?}", recording.ending);
    }
    let recording = record(&path, &["alarm"], directory.path(), StrategyName::Fair, 0);
    assert!(
        matches!(recording.ending, Ending::Killed { signal: libc::SIGALRM, .. }),
        "{:?}",
        recording.ending
    );
}

#[test]
fn tasks_choose_among_the_cores_that_they_are_told_of() {
    check("affinity", &[], &Ending::Exited(0));
}

#[test]
fn calls_wait_for_the_whole_of_what_they_ask_for() {
    check("whole", &[], &Ending::Exited(0));
}

/// The kernel and a busy machine wake late; what chaos makes of that must not grow with it.
#[test]
fn a_program_waits_for_no_longer_than_it_asks_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("waits", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!((&recording.ending, recording.struck.is_empty()), (&Ending::Exited(0), true));
    let waited = Duration::from_nanos(recording.measured.waited);
    assert!(waited <= Duration::from_millis(30), "{waited:?}");
}

#[test]
fn a_time_limit_for_messages_begins_with_the_call() {
    check("until", &[], &Ending::Exited(0));
}

/// Record and replay a program in virtual time, under each strategy. It must end well.
fn check_virtual(name: &str, args: &[&str], fast_forwards: fn(u64) -> bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let program = program(&path, args, directory.path());
    for strategy in STRATEGIES {
        let options = record::Options {
            time: Time::Virtual,
            surprises: Surprises::NONE,
            ..options(Duration::from_secs(20), strategy, 1)
        };
        let recording = record::record(&program, &options).expect("a recording");
        assert_eq!(
            recording.ending,
            Ending::Exited(0),
            "{strategy}: {} fast-forwards, {}",
            recording.fast_forwards,
            text(&recording)
        );
        let (replayed, output) =
            replay_recording(&recording).unwrap_or_else(|error| panic!("{strategy}: {error}"));
        assert_eq!((replayed.ending, replayed.stats), (recording.ending, recording.stats), "{strategy}");
        assert_eq!(output, recording.output, "{strategy}");
        assert!(
            fast_forwards(recording.fast_forwards),
            "{strategy}: {} fast-forwards",
            recording.fast_forwards
        );
    }
}

/// It sleeps for many hours in all: in real time it would end as hung.
#[test]
fn an_hour_passes_at_once_by_every_kind_of_sleep_and_clock() {
    check_virtual("clocks", &[], |fast_forwards| fast_forwards > 20);
}

/// Of files, of System V objects, of packets, of the system.
#[test]
fn times_that_the_kernel_tells_agree_with_the_clocks() {
    check_virtual("file_times", &[], |fast_forwards| fast_forwards > 100);
}

#[test]
fn time_does_not_leap_over_what_others_may_do() {
    check_virtual("clocks", &["others"], |fast_forwards| fast_forwards == 0);
}

#[test]
fn time_does_not_leap_while_a_server_is_looked_for() {
    check_virtual("clocks", &["server"], |fast_forwards| fast_forwards == 2);
}

/// What has struck, and how often the program says that it has.
fn surprised(kind: Surprise, allowed: Surprises) -> Vec<(u32, u32)> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("surprises", directory.path());
    let program = program(&path, &[kind.as_str()], directory.path());
    let attempt = |seed: u64| {
        let strategy = STRATEGIES[1 + seed as usize % 2];
        let options = options(PATIENCE, strategy, seed);
        let options = record::Options { time: Time::Virtual, surprises: allowed, ..options };
        let recording = record::record(&program, &options).expect("a recording");
        let said = text(&recording);
        assert_eq!(recording.ending, Ending::Exited(0), "{kind:?} {seed}: {said}");
        let (replayed, output) =
            replay_recording(&recording).unwrap_or_else(|error| panic!("{kind:?} {seed}: {error}"));
        assert_eq!((replayed.ending, replayed.stats), (recording.ending, recording.stats), "{kind:?}");
        assert_eq!(output, recording.output, "{kind:?} {seed}");
        let struck = recording.struck.iter().find(|(struck, _)| *struck == kind);
        (struck.map_or(0, |(_, count)| count), said.trim().parse().expect("a number"))
    };
    (0..16).map(attempt).collect()
}

fn check_surprise(kind: Surprise, is_right: fn(u32, u32) -> bool) {
    let counts = surprised(kind, [kind].into_iter().collect());
    assert!(counts.iter().all(|(struck, said)| is_right(*struck, *said)), "{kind:?}: {counts:?}");
    assert!(counts.iter().any(|(_, said)| *said > 0), "{kind:?} never: {counts:?}");
    assert!(counts.iter().any(|(struck, _)| *struck == 0), "{kind:?} always: {counts:?}");
}

#[test]
fn waits_end_for_no_reason() {
    // Others may have been faster than one that was woken so.
    check_surprise(Surprise::Spurious, |struck, said| said <= struck);
}

#[test]
fn epoll_is_interrupted() {
    check_surprise(Surprise::Interrupt, |struck, said| said == struck);
}

#[test]
fn streams_are_read_and_written_in_parts() {
    check_surprise(Surprise::Short, |struck, said| said <= struck);
}

/// Loaded as the machine may be, that happens by itself as well.
#[test]
fn time_limits_run_out_early() {
    check_surprise(Surprise::Early, |_, _| true);
}

#[test]
fn sleeps_last_longer() {
    check_surprise(Surprise::Late, |_, _| true);
}

#[test]
fn nothing_surprises_who_does_not_want_it() {
    for kind in [Surprise::Spurious, Surprise::Interrupt, Surprise::Short] {
        let counts = surprised(kind, Surprises::NONE);
        assert!(counts.iter().all(|counts| *counts == (0, 0)), "{kind:?}: {counts:?}");
    }
}
