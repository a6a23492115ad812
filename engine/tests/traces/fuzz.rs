//! Alterations drawn from a seed.
//!
//! `RRTEST_FUZZ=N` makes N of each recording, `RRTEST_FUZZ_SEED` others.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::event::Event;

use crate::altered::{Outcome, Replays};
use crate::fields;
use crate::tiny::{self, PROGRAMS, Recorded};

/// How many alterations of each recording are replayed.
const CASES: u64 = 100;

/// An alteration of the events of a recording: where, and what in words. `other` is another recording.
pub(crate) fn alteration(
    random: &mut Xoshiro256PlusPlus,
    recorded: &[Event],
    other: &[Event],
) -> Option<(usize, String, Vec<Event>)> {
    let mut events = recorded.to_vec();
    let at = random.next_u64() as usize % events.len();
    let kind = kind_of(&events[at]);
    let what = match random.next_u32() % 8 {
        0 => {
            events.remove(at);
            format!("drop {kind}")
        }
        1 => {
            events.insert(at, events[at].clone());
            format!("duplicate {kind}")
        }
        2 if at + 1 < events.len() => {
            events.swap(at, at + 1);
            format!("swap {kind} {}", kind_of(&events[at]))
        }
        3 => {
            let foreign = other[random.next_u64() as usize % other.len()].clone();
            let what = format!("splice {} before {kind}", kind_of(&foreign));
            events.insert(at, foreign);
            what
        }
        4 => {
            events.truncate(at);
            format!("truncate before {kind}")
        }
        _ => {
            let (path, event) = fields::altered(random, &events[at])?;
            events[at] = event;
            format!("change {path}")
        }
    };
    (events != recorded).then_some((at, what, events))
}

/// The variant of an event, and of a call its name.
fn kind_of(event: &Event) -> String {
    if let Event::Syscall(call) = event {
        return rrtest_engine::syscalls::name(call.number);
    }
    let text = format!("{event:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// What may be altered without a difference: how the alteration begins in words, and why that is no harm. What the
/// program reads is compared as far as it does anything with it: what it writes then is something else.
#[rustfmt::skip]
const HARMLESS: &[(&str, &str)] = &[
    ("change Syscall.result", "the program does not look at it"),
    ("change Syscall.writes", "the program does not look at it"),
    ("change Buffered", "what it does not look at, and what fills entries up to a word"),
    ("change TrappedRead", "the program does not look at it"),
    ("change Signal.handler", "the handler does not look at it"),
    ("change Signal.number", "the handler's registers have it"),
    ("change Image.writes", "the program does not look at it"),
    ("change Syscall.effect.Executed", "as of the first image"),
    ("change Image.program", "a name"),
    ("change Image.mappings", "nobody comes there: contents that are not looked at, room that is not needed"),
    ("change Syscall.effect.MapFile", "as of the first image"),
    ("change Syscall.effect.ChangeFile", "the program does not look at it"),
    ("change Syscall.effect.Output", "the stream is said by the trace alone: a descriptor can lead anywhere"),
    ("change Syscall.given", "0 says that there is none; and output is compared byte by byte instead"),
    ("change MovedReads", "instructions that are not executed"),
    ("change Patched.places", "what a debugger is shown of a stub"),
    ("splice Entered", "as for one that is dropped, if the task stands at a call"),
    ("change Image.registers", "the program does not look at it"),
    ("change Patched.here", "who is not there yet comes by the new way"),
    ("change Ended", "a report, which replay cannot make again"),
    ("drop MovedReads", "instructions that are not executed"),
    ("splice MovedReads", "another process's instructions, at addresses where here nothing is executed"),
    ("drop Entered", "only says where a task is, which the call after it says, too"),
    ("drop Drained", "the same"),
    ("drop kill", "a call at which a signal arrives need not have been made"),
    ("drop Killed", "nobody looks at a process that is killed by whoever waits for it"),
    ("duplicate Buffer", "the same code"),
    ("splice Buffer", "the same code"),
    ("drop Buffer", "needed where calls are made without a stop only"),
    ("drop Run", "one after which all goes on as before"),
    ("duplicate Drained", "the log is still at its end"),
    ("splice Ended before Ended", "the same ending"),
    ("duplicate Ended", "nothing is looked at behind the end"),
    ("duplicate Entered", "it is where it is"),
    ("duplicate Killed", "dead is dead"),
    ("duplicate MovedReads", "the same code"),
    ("duplicate Run", "says the same again"),
    ("duplicate Signal", "the one that ends the program"),
    ("splice Run", "the next one counts, and nothing has happened before it"),
    ("swap", "two that have nothing to do with each other"),
];

/// Errors that do not say that trace and program do not fit. A replay should end with a divergence instead.
const UNNAMED: &[&str] = &["cannot write", "cannot map", "cannot set registers", "cannot fill a memory file"];

fn is_allowed(what: &str, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Diverged(_) | Outcome::Damaged(_) | Outcome::Miscounted => true,
        Outcome::Same => HARMLESS.iter().any(|(alteration, _)| what.starts_with(alteration)),
        Outcome::Refused(text) => UNNAMED.iter().any(|known| text.starts_with(known)),
        Outcome::Wrong(_) | Outcome::Panicked(_) | Outcome::Littered(_) => false,
    }
}

/// Replays alterations of a recording, and tells of those that pass and must not.
fn fuzz(recorded: &Recorded, other: &[Event]) -> Vec<String> {
    let replays = Replays::of(recorded);
    let unaltered = replays.outcome("nothing", &recorded.events);
    assert!(matches!(unaltered, Outcome::Same), "{}: {unaltered:?}", recorded.name);
    let (cases, seed) = (setting("RRTEST_FUZZ").unwrap_or(CASES), setting("RRTEST_FUZZ_SEED").unwrap_or(0));
    let mut wrong = Vec::new();
    for case in 0..cases {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed << 32 | case);
        let Some((at, what, events)) = alteration(&mut random, &recorded.events, other) else { continue };
        let outcome = replays.outcome(&what, &events);
        if !is_allowed(&what, &outcome) {
            wrong.push(format!("{}, case {case}: at event {at}, {what}: {outcome:?}", recorded.name));
        }
    }
    wrong
}

#[test]
fn no_alteration_passes() {
    let recordings: Vec<Recorded> =
        PROGRAMS.iter().map(|(name, strategy)| tiny::record(name, *strategy)).collect();
    let next = recordings.iter().cycle().skip(1);
    let wrong = recordings.iter().zip(next).flat_map(|(recorded, other)| fuzz(recorded, &other.events));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first call of the runtime is no event: a replay must let it pass wherever it comes.
#[test]
fn a_read_before_any_call_replays() {
    let recorded = tiny::record("reads-at-once", StrategyName::Fair);
    let unaltered = Replays::of(&recorded).outcome("nothing", &recorded.events);
    assert!(matches!(unaltered, Outcome::Same), "{unaltered:?}");
}
