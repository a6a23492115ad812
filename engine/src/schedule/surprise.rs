//! Surprises: events that the standards allow but that hardly ever happen.
//!
//! Each kind names the rule that allows it. A program that follows the standards survives them all; one that fails has
//! relied on luck. Each attempt draws which kinds it has and how often, from random streams of their own: switching one
//! off does not change when the others strike.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::task::TaskId;

/// A kind of surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surprise {
    /// A wake wakes any of the waiters. futex(2): "No guarantee is provided about which waiters are awoken".
    Order,
    /// A wait ends although nobody has ended it. futex(2), of `FUTEX_WAIT`: "a wake-up can also be caused by common
    /// futex usage patterns in unrelated code […]. Therefore, callers should always conservatively assume that a return
    /// value of 0 can mean a spurious wake-up"; pthread_cond_wait(3p); `std::sync::Condvar`, `std::thread::park`.
    Spurious,
    /// epoll_wait(2) is interrupted although no handler runs. signal(7), "Interruption of system calls and library
    /// functions by stop signals": this happens when a terminal or a debugger stops and continues a process. Much
    /// otherwise correct code does not expect it, so it strikes only on request.
    Interrupt,
    /// A read from a stream gets less than is there, as if the rest came later; a nonblocking write to a stream writes
    /// less than it was given, as if there were no more room. read(3p), write(3p), recv(3p), send(3p). What was written
    /// to a pipe at once and is no longer than `PIPE_BUF` (pipe(7)) stays together.
    Short,
    /// A short time limit expires although there is work to do: the machine has given the core to others meanwhile.
    Early,
    /// A wait lasts beyond its time limit, or a sleep beyond its end. nanosleep(2): "The suspension time may be longer
    /// than requested".
    Late,
    /// A task that yields goes on at once, again and again. sched_yield(2): "If the calling thread is the only thread
    /// in the highest priority list at that time, it will continue to run after a call". Every thread with its own core
    /// does that.
    Yield,
    /// A task does not get the core while others repeatedly wait for a time. No standard says when a runnable task
    /// runs.
    Stall,
    /// Time passes before a clock is read: more of it may pass between two reads than the program has computed for.
    Slow,
    /// The wall clock stands just before the end of a second, minute, hour, day or month as the program begins. Nothing
    /// says when a program begins.
    Date,
    /// The same for the end of a year or a change of the zone's offset, up to a year ahead. Fixed certificates may have
    /// expired by then, so it strikes only on request.
    Year,
    /// The machine has just been booted: clocks that count from boot stand near zero. clock_gettime(2): CLOCK_MONOTONIC
    /// has an "unspecified point in the past".
    Uptime,
    /// The wall clock is set back. clock_gettime(2): CLOCK_REALTIME is "affected by discontinuous jumps in the system
    /// time"; `std::time::SystemTime`. Much code does not expect it, so it strikes only on request.
    ClockStep,
    /// Two reads of a clock in a row tell the same time: clocks have a resolution (clock_getres(2)). Only on request.
    CoarseClock,
    /// The program is started in another time zone (`TZ`, tzset(3)). Only on request.
    Tz,
    /// Timestamps of files are multiples of 10 ms up to 2 s, as those of many file systems are. Only on request.
    CoarseMtime,
    /// The machine has another number of cores.
    Cores,
    /// The entries of directories come in another order. readdir(3): "unlikely that the names will be sorted in any
    /// fashion".
    DirOrder,
    /// A port that the program has given back is handed out again. ip(7): the kernel assigns "an ephemeral port", any that
    /// is free.
    PortReuse,
    /// New memory lies elsewhere. mmap(2): "the kernel chooses the (page-aligned) address".
    Placement,
    /// A write to a file fails, since the disk is full (`ENOSPC`). Only on request, as those that follow.
    Enospc,
    /// A descriptor cannot be made, since there are too many (`EMFILE`).
    Emfile,
    /// A call is interrupted by a signal before it has done anything (`EINTR`).
    Eintr,
    /// A stream is reset by the other end (`ECONNRESET`).
    Econnreset,
    /// No name server can be reached.
    Dns,
    /// A call fails that is asked to.
    Fault,
}

impl Surprise {
    /// All kinds.
    pub const ALL: [Self; 26] = [
        Self::Order,
        Self::Spurious,
        Self::Interrupt,
        Self::Short,
        Self::Early,
        Self::Late,
        Self::Yield,
        Self::Stall,
        Self::Slow,
        Self::Date,
        Self::Year,
        Self::Uptime,
        Self::ClockStep,
        Self::CoarseClock,
        Self::Tz,
        Self::CoarseMtime,
        Self::Cores,
        Self::DirOrder,
        Self::PortReuse,
        Self::Placement,
        Self::Enospc,
        Self::Emfile,
        Self::Eintr,
        Self::Econnreset,
        Self::Dns,
        Self::Fault,
    ];

    /// The kinds that correct programs need not all be ready for, or that differ from what they are set to.
    const ON_REQUEST: [Self; 12] = [
        Self::Fault,
        Self::Interrupt,
        Self::Year,
        Self::ClockStep,
        Self::CoarseClock,
        Self::Tz,
        Self::CoarseMtime,
        Self::Enospc,
        Self::Emfile,
        Self::Eintr,
        Self::Econnreset,
        Self::Dns,
    ];

    /// Returns the name that users type and read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Spurious => "spurious",
            Self::Interrupt => "interrupt",
            Self::Short => "short",
            Self::Early => "early",
            Self::Late => "late",
            Self::Yield => "yield",
            Self::Stall => "stall",
            Self::Slow => "slow",
            Self::Date => "date",
            Self::Year => "year",
            Self::Uptime => "uptime",
            Self::ClockStep => "clock-step",
            Self::CoarseClock => "coarse-clock",
            Self::Tz => "tz",
            Self::CoarseMtime => "coarse-mtime",
            Self::Cores => "cores",
            Self::DirOrder => "dir-order",
            Self::PortReuse => "port-reuse",
            Self::Placement => "placement",
            Self::Enospc => "enospc",
            Self::Emfile => "emfile",
            Self::Eintr => "eintr",
            Self::Econnreset => "econnreset",
            Self::Dns => "dns",
            Self::Fault => "fault",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// A set of kinds of surprises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surprises(u32);

impl Surprises {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// All kinds.
    pub const ALL: Self = Self((1 << Surprise::ALL.len()) - 1);
    /// The kinds that every program must be ready for: those that do not strike on request only.
    pub const USUAL: Self = {
        let (mut usual, mut at) = (Self::ALL.0, 0);
        while at < Surprise::ON_REQUEST.len() {
            usual &= !Surprise::ON_REQUEST[at].bit();
            at += 1;
        }
        Self(usual)
    };

    /// The kinds by which the program's clocks stand elsewhere than those of other processes.
    pub const OF_CLOCKS: Self = Self(
        Surprise::Date.bit() | Surprise::Year.bit() | Surprise::Uptime.bit() | Surprise::ClockStep.bit(),
    );

    /// Returns the set with one more kind.
    #[must_use]
    pub fn with(self, kind: Surprise) -> Self {
        Self(self.0 | kind.bit())
    }

    /// Returns the set without these kinds.
    #[must_use]
    pub fn without(self, kinds: Self) -> Self {
        Self(self.0 & !kinds.0)
    }

    /// Whether the set contains this kind.
    #[must_use]
    pub fn has(self, kind: Surprise) -> bool {
        self.0 & kind.bit() != 0
    }
}

impl FromIterator<Surprise> for Surprises {
    fn from_iter<I: IntoIterator<Item = Surprise>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |all, kind| all | kind.bit()))
    }
}

impl fmt::Display for Surprises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Surprise::ALL.into_iter().filter(|kind| self.has(*kind)).map(Surprise::as_str).collect();
        match *self {
            Self::NONE => f.pad("none"),
            Self::ALL => f.pad("all"),
            _ => f.pad(&names.join(",")),
        }
    }
}

impl FromStr for Surprises {
    type Err = UnknownSurprise;

    /// Parses `all`, `none`, or names separated by commas, among them `usual`; `no-` before a name removes the kind from
    /// those before it, or from the usual ones.
    fn from_str(text: &str) -> Result<Self, UnknownSurprise> {
        let kind = |name: &str| {
            let found = Surprise::ALL.into_iter().find(|kind| kind.as_str() == name);
            found.ok_or_else(|| UnknownSurprise(name.to_owned()))
        };
        match text {
            "all" => Ok(Self::ALL),
            "none" => Ok(Self::NONE),
            names => names
                .split(',')
                .map(str::trim)
                .try_fold(None, |all: Option<Self>, name| {
                    Ok(Some(match name.strip_prefix("no-") {
                        None if name == "usual" => Self(all.unwrap_or(Self::NONE).0 | Self::USUAL.0),
                        Some(name) => Self(all.unwrap_or(Self::USUAL).0 & !kind(name)?.bit()),
                        None => Self(all.unwrap_or(Self::NONE).0 | kind(name)?.bit()),
                    }))
                })
                .map(Option::unwrap_or_default),
        }
    }
}

/// No surprise has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown surprise `{0}`; known: {known}; also usual, all, none, and no-NAME to leave one out", known = Surprise::ALL.map(Surprise::as_str).join(", "))]
pub struct UnknownSurprise(pub String);

/// How often surprises have struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Struck([u32; Surprise::ALL.len()]);

impl Struck {
    /// Iterates over the kinds that have struck, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Surprise, u32)> + '_ {
        Surprise::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Whether one of these kinds has struck.
    #[must_use]
    pub fn any_of(&self, kinds: Surprises) -> bool {
        self.iter().any(|(kind, _)| kinds.has(kind))
    }

    /// Whether none has struck.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Struck {
    /// Formats as in `2 late, 1 short`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        f.pad(&kinds.join(", "))
    }
}

/// A surprise that has struck, or is to strike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stroke {
    /// Its kind.
    pub kind: Surprise,
    /// The task that it strikes.
    pub task: TaskId,
    /// Which of the task's occasions for this kind, from 1. Reads of clocks count for all tasks together.
    pub occasion: u64,
    /// The numbers drawn for it.
    pub draws: Vec<u64>,
}

/// Strokes that are noted at most.
const MOST_NOTED: usize = 1 << 12;

/// Draws the surprises of an attempt, or takes them from a script.
#[derive(Debug)]
pub struct Injector {
    allowed: Surprises,
    kinds: [Die; Surprise::ALL.len()],
    struck: Struck,
    patience: u32,
    /// How many occasions each task has had.
    occasions: BTreeMap<(Surprise, TaskId), u64>,
    /// Reads of clocks until the next one that is an occasion.
    reads: u64,
    noted: Vec<Stroke>,
    /// Whether the last occasion of a kind was struck, which is when numbers are drawn for it.
    drawing: [bool; Surprise::ALL.len()],
    script: Option<Scripted>,
}

/// What is to strike.
#[derive(Debug)]
struct Scripted {
    strokes: Vec<Stroke>,
    /// What is left of the numbers of the last stroke of each kind.
    draws: [VecDeque<u64>; Surprise::ALL.len()],
}

/// One kind.
#[derive(Debug)]
struct Die {
    random: Random,
    /// It strikes on one in this many occasions; 0 for never.
    period: u64,
}

impl Injector {
    /// Makes streams that no strategy uses.
    const SALT: u64 = 0x7375_7270_7269_7365;

    /// One attempt in this many has any patience, half of those have more than a little, and so on up to the maximum.
    const IMPATIENT: u64 = 128;
    const MOST_PATIENT: u32 = 5;

    /// Draws the kinds of the attempt with this seed. Every other attempt has a given kind.
    #[must_use]
    pub fn new(allowed: Surprises, seed: u64) -> Self {
        let streams: [Random; Surprise::ALL.len()] = Random::streams(seed ^ Self::SALT);
        let mut kinds = Surprise::ALL.into_iter();
        let kinds = streams.map(|mut random| {
            let has = kinds.next().is_some_and(|kind| allowed.has(kind));
            let (drawn, period) = (random.chance(1, 2), 2 << random.below(2));
            Die { random, period: if has && drawn { period } else { 0 } }
        });
        let [mut random] = Random::streams(seed ^ !Self::SALT);
        let mut patience = u32::from(random.chance(1, Self::IMPATIENT));
        while (1..Self::MOST_PATIENT).contains(&patience) && random.chance(1, 2) {
            patience += 1;
        }
        Self {
            allowed,
            kinds,
            struck: Struck::default(),
            patience,
            occasions: BTreeMap::new(),
            reads: 0,
            noted: Vec::new(),
            drawing: Default::default(),
            script: None,
        }
    }

    /// Has these strike, and nothing else. What is not allowed does not.
    #[must_use]
    pub fn scripted(allowed: Surprises, seed: u64, strokes: &[Stroke]) -> Self {
        let strokes = strokes.iter().filter(|stroke| allowed.has(stroke.kind)).cloned().collect();
        Self { script: Some(Scripted { strokes, draws: Default::default() }), ..Self::new(allowed, seed) }
    }

    /// Whether this kind is allowed.
    #[must_use]
    pub fn allow(&self, kind: Surprise) -> bool {
        self.allowed.has(kind)
    }

    /// Whether the attempt has this kind.
    #[must_use]
    pub fn have(&self, kind: Surprise) -> bool {
        match &self.script {
            Some(script) => script.strokes.iter().any(|stroke| stroke.kind == kind),
            None => self.kinds[kind as usize].period > 0,
        }
    }

    /// Whether this kind strikes on an occasion that a task has.
    pub fn strike(&mut self, kind: Surprise, task: TaskId) -> bool {
        let Die { random, period } = &mut self.kinds[kind as usize];
        let strikes = self.script.is_none() && *period > 0 && random.chance(1, *period);
        self.occasion(kind, task, strikes)
    }

    /// Whether this kind strikes that is asked for: it does, unless there is a script without it.
    pub fn strike_as_asked(&mut self, kind: Surprise, task: TaskId) -> bool {
        let strikes = self.script.is_none();
        self.occasion(kind, task, strikes)
    }

    /// Counts an occasion, and a stroke if it `strikes` there, or does so by the script.
    fn occasion(&mut self, kind: Surprise, task: TaskId, strikes: bool) -> bool {
        let task = if kind == Surprise::Slow { TaskId(0) } else { task };
        let occasion = self.occasions.entry((kind, task)).or_default();
        *occasion += 1;
        let occasion = *occasion;
        let strikes = match &mut self.script {
            Some(script) => {
                let is_it = |it: &&Stroke| (it.kind, it.task, it.occasion) == (kind, task, occasion);
                let stroke = script.strokes.iter().find(is_it);
                script.draws[kind as usize] = stroke.iter().flat_map(|it| it.draws.clone()).collect();
                stroke.is_some()
            }
            None => strikes,
        };
        self.struck.0[kind as usize] += u32::from(strikes);
        self.drawing[kind as usize] = strikes && self.noted.len() < MOST_NOTED;
        if self.drawing[kind as usize] {
            self.noted.push(Stroke { kind, task, occasion, draws: Vec::new() });
        }
        strikes
    }

    /// Takes the number that the script has next for a stroke of this kind; `None` if there is no script.
    fn scripted_draw(&mut self, kind: Surprise) -> Option<u64> {
        self.script.as_mut().map(|script| script.draws[kind as usize].pop_front().unwrap_or(0))
    }

    /// Notes a number that was drawn for a stroke of this kind.
    fn drawn(&mut self, kind: Surprise, number: u64) -> u64 {
        if self.drawing[kind as usize]
            && let Some(stroke) = self.noted.iter_mut().rev().find(|stroke| stroke.kind == kind)
        {
            stroke.draws.push(number);
        }
        number
    }

    /// Draws after how many reads of clocks, from this one, the next one is that can be slow, fewer than `end`.
    pub fn reads_until(&mut self, end: u64) -> u64 {
        *self.occasions.entry((Surprise::Slow, TaskId(0))).or_default() += self.reads;
        let next = match self.script {
            Some(_) => 1,
            None => self.random_amount(Surprise::Slow, 1, end),
        };
        self.reads = next - 1;
        next
    }

    /// Whether there is a script.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// Takes what has struck.
    pub fn take_noted(&mut self) -> Vec<Stroke> {
        std::mem::take(&mut self.noted)
    }

    /// Whether more has struck than is noted.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.noted.len() >= MOST_NOTED
    }

    /// Returns the attempt's patience with what takes real time, as a power of 2: mostly 0, and each further one half
    /// as often.
    #[must_use]
    pub fn patience(&self) -> u32 {
        self.patience
    }

    /// Draws a number below `bound`; 0 if that is 0.
    pub fn below(&mut self, kind: Surprise, bound: u64) -> u64 {
        let number = match self.scripted_draw(kind) {
            Some(number) => number.min(bound.saturating_sub(1)),
            None => self.kinds[kind as usize].random.below(bound),
        };
        self.drawn(kind, number)
    }

    /// Whether this kind strikes on a rare occasion: if it is allowed, every other time, whether the attempt has it or
    /// not.
    pub fn strike_rather(&mut self, kind: Surprise, task: TaskId) -> bool {
        let strikes =
            self.script.is_none() && self.allow(kind) && self.kinds[kind as usize].random.chance(1, 2);
        self.occasion(kind, task, strikes)
    }

    /// Draws an amount from `least` (not 0) to below `end`, each power of two equally likely. Returns `least` if the
    /// range is empty.
    pub fn amount(&mut self, kind: Surprise, least: u64, end: u64) -> u64 {
        let number = match self.scripted_draw(kind) {
            Some(number) => number.clamp(least, end.saturating_sub(1).max(least)),
            None => self.random_amount(kind, least, end),
        };
        self.drawn(kind, number)
    }

    fn random_amount(&mut self, kind: Surprise, least: u64, end: u64) -> u64 {
        let random = &mut self.kinds[kind as usize].random;
        let powers = u64::from((end.saturating_sub(1) / least.max(1)).checked_ilog2().unwrap_or(0)) + 1;
        let from = least << random.below(powers);
        from + random.below(from.min(end.saturating_sub(from)))
    }

    /// Returns how often each kind has struck.
    #[must_use]
    pub fn struck(&self) -> Struck {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in Surprise::ALL {
            let only: Surprises = [kind].into_iter().collect();
            assert_eq!(only.to_string().parse(), Ok(only));
        }
        let two: Surprises = [Surprise::Late, Surprise::Order].into_iter().collect();
        assert_eq!(("late, order".parse(), "all".parse()), (Ok(two), Ok(Surprises::ALL)));
        assert_eq!((Surprises::NONE.to_string(), "none".parse()), ("none".into(), Ok(Surprises::NONE)));
        let but = |kind: Surprise| Surprises(Surprises::USUAL.0 & !kind.bit());
        assert_eq!("no-late".parse(), Ok(but(Surprise::Late)));
        assert_eq!("late,order,no-late".parse(), Ok([Surprise::Order].into_iter().collect::<Surprises>()));
        let with = Surprises::USUAL.with(Surprise::Tz);
        assert_eq!(("usual".parse(), "usual,tz".parse()), (Ok(Surprises::USUAL), Ok(with)));
        assert_eq!(but(Surprise::Late).without(but(Surprise::Early)).to_string(), "early");
        assert!(!Surprises::USUAL.has(Surprise::Interrupt) && Surprises::USUAL.has(Surprise::Slow));
        assert!("no-luck".parse::<Surprises>().is_err());
        let error = "bad luck".parse::<Surprises>().unwrap_err().to_string();
        assert!(
            error.contains("order, spurious, interrupt, short, early, late, yield, stall, slow, date, year"),
            "{error}"
        );
    }

    fn strikes(injector: &mut Injector, kind: Surprise) -> Vec<bool> {
        (0..64).map(|_| injector.strike(kind, TaskId(1))).collect()
    }

    #[test]
    fn equal_seeds_surprise_equally_whatever_else_is_allowed() {
        let late: Surprises = [Surprise::Late].into_iter().collect();
        let mut seen = 0;
        for seed in 0..50 {
            let (mut all, mut only) = (Injector::new(Surprises::ALL, seed), Injector::new(late, seed));
            strikes(&mut all, Surprise::Short);
            let struck = strikes(&mut only, Surprise::Late);
            assert_eq!(strikes(&mut all, Surprise::Late), struck);
            assert_eq!(only.struck().iter().count(), usize::from(struck.contains(&true)));
            assert!(!strikes(&mut only, Surprise::Short).contains(&true));
            seen += usize::from(only.have(Surprise::Late));
        }
        assert!((15..35).contains(&seen), "{seen} of 50 attempts");
    }

    #[test]
    fn what_is_not_allowed_never_strikes() {
        for seed in 0..20 {
            let mut injector = Injector::new(Surprises::NONE, seed);
            assert!(Surprise::ALL.iter().all(|kind| !strikes(&mut injector, *kind).contains(&true)));
        }
    }

    /// Lets a kind have occasions for two tasks in turn, and draws for those that it strikes.
    fn play(injector: &mut Injector, kind: Surprise) -> Vec<Option<u64>> {
        let mut play = |number: u32| {
            let strikes = injector.strike(kind, TaskId(number % 2));
            strikes.then(|| injector.amount(kind, 10, 1000) + injector.below(kind, 7))
        };
        (0..64).map(&mut play).collect()
    }

    #[test]
    fn what_has_struck_strikes_again_by_the_script_and_only_what_is_left_in_it() {
        let mut struck = 0;
        for seed in 0..40 {
            let mut first = Injector::new(Surprises::ALL, seed);
            let played = play(&mut first, Surprise::Late);
            let mut strokes = first.take_noted();
            let mut again = Injector::scripted(Surprises::ALL, seed + 1, &strokes);
            assert_eq!(play(&mut again, Surprise::Late), played);
            assert_eq!(again.take_noted(), strokes);
            assert!(!again.have(Surprise::Early) && !again.strike(Surprise::Early, TaskId(0)));
            if strokes.len() > 1 {
                struck += 1;
                // The others strike at the same occasions, with the same numbers.
                let left = strokes.remove(0);
                let mut fewer = Injector::scripted(Surprises::ALL, seed, &strokes);
                let replayed = play(&mut fewer, Surprise::Late);
                let differing: Vec<_> =
                    played.iter().zip(&replayed).filter(|(one, other)| one != other).collect();
                let expected = Some(left.draws.iter().sum());
                assert_eq!(differing, [(&expected, &None)]);
            }
            let mut none = Injector::scripted(Surprises::NONE, seed, &strokes);
            assert!(play(&mut none, Surprise::Late).iter().all(Option::is_none), "it is not allowed");
        }
        assert!(struck > 5, "{struck}");
    }

    #[test]
    fn a_clock_is_slow_at_the_same_read_again() {
        let slow = |injector: &mut Injector| {
            let (mut read, mut at) = (0, Vec::new());
            // Reads that are no occasion are not seen.
            let mut next = 1;
            while read < 500 {
                read += next;
                next = injector.reads_until(17);
                at.extend(injector.strike(Surprise::Slow, TaskId(read as u32)).then_some(read));
            }
            at.retain(|read| *read < 400);
            at
        };
        let mut some = false;
        for seed in 0..20 {
            let mut first = Injector::new(Surprises::ALL, seed);
            let at = slow(&mut first);
            some |= at.len() > 2;
            assert_eq!(slow(&mut Injector::scripted(Surprises::ALL, 0, &first.take_noted())), at);
        }
        assert!(some);
    }

    #[test]
    fn patience_is_rare() {
        let mut counts = [0; 6];
        for seed in 0..64_000 {
            counts[Injector::new(Surprises::ALL, seed).patience() as usize] += 1;
        }
        for (power, expected) in [250, 125, 62, 31, 31].into_iter().enumerate() {
            let count = counts[power + 1];
            assert!((expected / 2..expected * 2).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn amounts_are_of_all_magnitudes_and_within_their_bounds() {
        let mut injector = Injector::new(Surprises::ALL, 1);
        let amounts: Vec<u64> = (0..2000).map(|_| injector.amount(Surprise::Late, 10, 1000)).collect();
        assert!(amounts.iter().all(|amount| (10..1000).contains(amount)));
        for (from, to) in [(10, 20), (20, 40), (40, 80), (80, 160), (160, 320), (320, 640), (640, 1000)] {
            let count = amounts.iter().filter(|amount| (from..to).contains(*amount)).count();
            assert!((200..400).contains(&count), "{count} from {from} to {to}");
        }
        assert_eq!([injector.amount(Surprise::Late, 7, 7), injector.amount(Surprise::Late, 7, 3)], [7, 7]);
    }
}
