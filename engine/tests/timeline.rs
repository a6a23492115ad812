//! Moving about in runs, forwards and back.

#[path = "programs/made.rs"]
mod made;

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use made::common::{GO_ON, PATIENCE, core};
use made::{compile, record, text};
use rrtest_engine::Error;
use rrtest_engine::record::Recording;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::timeline::{Asked, Breakpoint, Moment, Options, Stop, Timeline, Watch, Watchpoint};
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::{Effect, Event, Registers};

fn recordings(name: &str, args: &[&str]) -> Vec<Recording> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let kinds = [(StrategyName::Fair, 0), (StrategyName::Walk, 1)];
    kinds.map(|(strategy, seed)| record(&path, args, directory.path(), strategy, seed)).into()
}

fn start(recording: &Recording) -> Timeline<'_> {
    let options =
        Options { core: core(), interrupt: &GO_ON, patience: PATIENCE, output: Box::new(|_, _| {}) };
    Timeline::start(&recording.log, options).expect("a timeline")
}

/// The addresses of `work` and `word` that the program tells.
fn addresses(recording: &Recording) -> [u64; 2] {
    let text = text(&recording.output);
    let mut numbers =
        text.split_whitespace().map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16));
    std::array::from_fn(|_| numbers.next().expect("an address").expect("a number"))
}

fn at(address: u64) -> Asked {
    Asked { breakpoints: vec![Breakpoint { address, conditions: vec![] }], ..Asked::default() }
}

fn watching(address: u64) -> Asked {
    Asked { watchpoints: vec![Watchpoint { address, len: 8, watch: Watch::Change }], ..Asked::default() }
}

fn registers(timeline: &mut Timeline<'_>) -> Option<Registers> {
    let current = timeline.current();
    timeline.registers(current).expect("registers")
}

fn word(timeline: &Timeline<'_>, address: u64) -> u64 {
    let bytes = timeline.read(timeline.current(), address, 8).expect("memory");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// All that can be seen of a moment: where, who, with which registers, and a word.
type Seen = (Moment, Option<Registers>, u64);

fn seen(timeline: &mut Timeline<'_>, address: u64) -> Seen {
    let moment = timeline.moment().expect("a moment");
    (moment, registers(timeline), word(timeline, address))
}

#[test]
fn what_is_met_forwards_is_met_back() {
    for recording in recordings("steps", &[]) {
        let [work, counter] = addresses(&recording);
        for asked in [at(work), watching(counter)] {
            let mut timeline = start(&recording);
            let mut there = Vec::new();
            while timeline.run(&asked).expect("a run") != Stop::End {
                there.push((timeline.current(), registers(&mut timeline), word(&timeline, counter)));
            }
            assert!(there.len() > 50, "{}", there.len());
            let is_watch = !asked.watchpoints.is_empty();
            let mut moments = Vec::new();
            for (n, (task, registers_there, value)) in there.iter().enumerate().rev().take(12) {
                let stop = timeline.run_back(&asked).expect("a way back");
                match stop {
                    Stop::Breakpoint(by, address) => {
                        assert!(!is_watch && by == *task && address == work, "{n}: {stop:?}");
                        assert_eq!(registers(&mut timeline), *registers_there, "{n}");
                    }
                    Stop::Watchpoint(by, address) => {
                        assert!(is_watch && by == *task && address == counter, "{n}: {stop:?}");
                        let before = if n == 0 { 0 } else { there[n - 1].2 };
                        assert_eq!((word(&timeline, counter), n), (before, n), "not {value} yet");
                    }
                    other => panic!("{n}: {other:?}"),
                }
                moments.push(timeline.moment().expect("a moment"));
            }
            moments.reverse();
            assert!(moments.is_sorted_by(|a, b| a < b), "{moments:?}");
            // And forwards again from there.
            let skipped = there.len() - 12 + usize::from(!is_watch);
            for (task, registers_there, _) in &there[skipped..] {
                assert_ne!(timeline.run(&asked).expect("a run"), Stop::End);
                assert_eq!((timeline.current(), registers(&mut timeline)), (*task, *registers_there));
            }
            assert_eq!(timeline.run(&asked).expect("a run"), Stop::End);
        }
    }
}

#[test]
fn the_last_of_many_is_found() {
    for recording in recordings("steps", &["many"]) {
        let [work, counter] = addresses(&recording);
        for asked in [at(work), watching(counter)] {
            let is_watch = !asked.watchpoints.is_empty();
            let mut timeline = start(&recording);
            let (mut there, mut marks) = (Vec::new(), Vec::new());
            while timeline.run(&asked).expect("a run") != Stop::End {
                there.push((registers(&mut timeline), word(&timeline, counter)));
                marks.push(timeline.mark());
            }
            assert!(there.len() > 1500, "{}", there.len());
            // From the end over the quiet part, across where a look has leapt, and to the very first ones.
            let back = |timeline: &mut Timeline<'_>, from: usize, count: usize| {
                for n in (0..from).rev().take(count) {
                    let stop = timeline.run_back(&asked).expect("a way back");
                    if is_watch {
                        assert!(matches!(stop, Stop::Watchpoint(..)), "{n}: {stop:?}");
                        assert_eq!(word(timeline, counter), if n == 0 { 0 } else { there[n - 1].1 }, "{n}");
                    } else {
                        assert!(matches!(stop, Stop::Breakpoint(..)), "{n}: {stop:?}");
                        assert_eq!(registers(timeline), there[n].0, "{n}");
                    }
                }
            };
            back(&mut timeline, there.len(), 3);
            for (from, count) in [(1520, 15), (1010, 20), (4, 4)] {
                timeline.go_to(&marks[from]).expect("a marked moment");
                // There, a write has just been made.
                back(&mut timeline, from + usize::from(is_watch), count + usize::from(is_watch));
            }
            assert_eq!(timeline.run_back(&asked).expect("a way back"), Stop::Begin);
        }
    }
}

#[test]
fn more_than_a_processor_watches_is_found() {
    for recording in recordings("steps", &[]) {
        let [work, counter] = addresses(&recording);
        let one = watching(counter).watchpoints[0];
        let many = Asked { watchpoints: vec![one; 5], ..Asked::default() };
        let mut timeline = start(&recording);
        for _ in 0..12 {
            timeline.run(&at(work)).expect("a run");
        }
        let here = timeline.mark();
        for _ in 0..3 {
            let mut found = Vec::new();
            for asked in [&watching(counter), &many] {
                timeline.go_to(&here).expect("a marked moment");
                let stop = timeline.run_back(asked).expect("a way back");
                assert!(matches!(stop, Stop::Watchpoint(..)), "{stop:?}");
                found.push(seen(&mut timeline, counter));
            }
            assert_eq!(found[0], found[1]);
        }
    }
}

#[test]
fn a_step_back_undoes_a_step() {
    for (name, args) in [("steps", &[][..]), ("signals", &[]), ("turns", &[]), ("forks", &[]), ("reads", &[])]
    {
        for recording in recordings(name, args) {
            let mut timeline = start(&recording);
            let counter = if name == "steps" { addresses(&recording)[1] } else { 0 };
            let look = |timeline: &mut Timeline<'_>| {
                let moment = timeline.moment().expect("a moment");
                let value = if counter == 0 { 0 } else { word(timeline, counter) };
                (moment, timeline.current(), registers(timeline), value)
            };
            let events = recording.log.count();
            for round in 1..4 {
                let event = 1 + events * round / 4;
                timeline.seek(Moment { event, ticks: 0, instructions: 0 }).expect("a moment");
                let mut passed = vec![look(&mut timeline)];
                for _ in 0..30 {
                    let current = timeline.current();
                    if timeline.step(current, &Asked::default()).expect("a step") == Stop::End {
                        break;
                    }
                    passed.push(look(&mut timeline));
                }
                for there in passed.iter().rev().skip(1) {
                    let back =
                        timeline.step_back().unwrap_or_else(|error| panic!("{name} {:?}: {error}", there.0));
                    assert_eq!((back, look(&mut timeline)), (Stop::Stepped, *there), "{name}");
                }
                // From what was only looked at, forwards again.
                for there in passed.iter().skip(1).take(5) {
                    let current = timeline.current();
                    timeline.step(current, &Asked::default()).expect("a step");
                    assert_eq!(look(&mut timeline), *there, "{name}");
                }
            }
        }
    }
}

/// All that can be seen at a moment: where, who, with which registers, and a digest of what its process can write.
fn all_of(timeline: &mut Timeline<'_>) -> (Moment, TaskId, Option<Registers>, u64) {
    let moment = timeline.moment().expect("a moment");
    let current = timeline.current();
    let mut hasher = DefaultHasher::new();
    for line in timeline.session().memory_map(current).expect("a map") {
        let is_writable = line.prot & libc::PROT_WRITE != 0;
        if is_writable && let Ok(bytes) = timeline.read(current, line.start, (line.end - line.start) as usize)
        {
            (line.start, bytes).hash(&mut hasher);
        }
    }
    (moment, current, registers(timeline), hasher.finish())
}

/// `RRTEST_MOMENTS=N` goes to N moments of each recording, `RRTEST_MOMENTS_SEED` to others.
#[test]
fn any_moment_is_come_back_to() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let rounds = number("RRTEST_MOMENTS").unwrap_or(3);
    let mut random = number("RRTEST_MOMENTS_SEED").unwrap_or(0) | 1;
    let mut draw = |below: u64| {
        // Xorshift64* (Vigna 2016).
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    };
    for (name, args) in [("steps", &[][..]), ("signals", &[]), ("turns", &[]), ("forks", &[]), ("reads", &[])]
    {
        for recording in recordings(name, args) {
            let mut timeline = start(&recording);
            for _ in 0..rounds {
                let (event, ticks, instructions) = (1 + draw(recording.log.count()), draw(6), draw(300));
                timeline.seek(Moment { event, ticks, instructions }).expect("a moment");
                let here = all_of(&mut timeline);
                if timeline.step_back().expect("a step back") == Stop::Begin {
                    continue;
                }
                let before = all_of(&mut timeline);
                assert!(before.0 < here.0, "{name}: {before:?} {here:?}");
                let asked = Asked::default();
                // Who executed that instruction is the one that runs before.
                let stop = timeline.step(before.1, &asked).expect("a step");
                assert!(matches!(stop, Stop::Stepped | Stop::End), "{name}: {stop:?}");
                assert_eq!(all_of(&mut timeline), here, "{name} {event}.{ticks}.{instructions}");
                timeline.step_back().expect("a step back");
                assert_eq!(all_of(&mut timeline), before, "{name}");
            }
        }
    }
}

#[test]
fn an_interrupted_way_forwards_leaves_the_moment() {
    let recording = &recordings("steps", &[])[0];
    let [work, _] = addresses(recording);
    let events: Result<Vec<_>, _> = recording.log.events().collect();
    let is_output =
        |event: &Event| matches!(event, Event::Syscall(call) if matches!(call.effect, Effect::Output(..)));
    let last = events.expect("events").iter().rposition(is_output).expect("output") as u64;
    for steps_back in [0, 3] {
        let (interrupt, armed) = (AtomicBool::new(false), Cell::new(false));
        // The output comes when the event is carried out: the rest of the way is what is interrupted.
        let output = Box::new(|_, _: &[u8]| interrupt.store(armed.get(), Ordering::Relaxed));
        let options = Options { core: core(), interrupt: &interrupt, patience: PATIENCE, output };
        let mut timeline = Timeline::start(&recording.log, options).expect("a timeline");
        timeline.run(&at(work)).expect("a run");
        for _ in 0..steps_back {
            timeline.step_back().expect("a step back");
        }
        let here = all_of(&mut timeline);
        armed.set(true);
        let moved = timeline.seek(Moment { event: last + 1, ticks: 0, instructions: 9 });
        assert!(matches!(moved, Err(Error::Stopped)), "{moved:?}");
        armed.set(false);
        assert_eq!(all_of(&mut timeline), here, "{steps_back}");
    }
}

#[test]
fn the_beginning_and_the_end_are_told() {
    let recording = &recordings("steps", &[])[0];
    let mut timeline = start(recording);
    let [_, counter] = addresses(recording);
    let begin = timeline.moment().expect("a moment");
    assert_eq!(timeline.step_back().expect("a step back"), Stop::Begin);
    assert_eq!(timeline.run_back(&Asked::default()).expect("a way back"), Stop::Begin);
    assert_eq!(timeline.run(&Asked::default()).expect("a run"), Stop::End);
    let end = seen(&mut timeline, counter);
    let current = timeline.current();
    assert_eq!(timeline.step(current, &Asked::default()).expect("a step"), Stop::End);
    assert_eq!(timeline.step_back().expect("a step back"), Stop::Stepped);
    assert!(timeline.moment().expect("a moment") < end.0);
    assert_eq!(timeline.run(&Asked::default()).expect("a run"), Stop::End);
    assert_eq!(seen(&mut timeline, counter), end);
    assert_eq!(timeline.run_back(&Asked::default()).expect("a way back"), Stop::Begin);
    assert_eq!(timeline.moment().expect("a moment"), begin);
}

#[test]
fn output_is_shown_once() {
    for recording in recordings("steps", &[]) {
        let shown = RefCell::new(Vec::new());
        let options = Options {
            core: core(),
            interrupt: &GO_ON,
            patience: PATIENCE,
            output: Box::new(|_, bytes| shown.borrow_mut().extend_from_slice(bytes)),
        };
        let mut timeline = Timeline::start(&recording.log, options).expect("a timeline");
        for _ in 0..3 {
            assert_eq!(timeline.run(&Asked::default()).expect("a run"), Stop::End);
            timeline.step_back().expect("a step back");
            assert_eq!(timeline.run_back(&Asked::default()).expect("a way back"), Stop::Begin);
        }
        drop(timeline);
        assert_eq!(String::from_utf8_lossy(&shown.borrow()), text(&recording.output));
    }
}
