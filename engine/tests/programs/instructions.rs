//! What instructions read: the processor, its counters, random numbers, vector registers.

use crate::common::{GO_ON, PATIENCE, core, program};
use crate::harness::{
    check, compile, compile_with, cores, options, record, replay_on, replay_recording, text,
};
use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::record::{self, Processor, Recording, Time};
use rrtest_engine::replay;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::event::{Event, FileRange};
use rrtest_engine::trace::log::Log;
use rrtest_engine::trace::{Bytes, Machine, Source, TraceError};
use std::process::Command;

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
