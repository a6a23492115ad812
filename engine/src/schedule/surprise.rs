//! Surprises: events that the standards allow but that hardly ever happen.
//!
//! Each kind names the rule that allows it. A program that follows the standards survives them all; one that fails has
//! relied on luck.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// A port that the program has given back is handed out again. ip(7): the kernel assigns "an ephemeral port", any
    /// that is free.
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

    /// Parses `all`, `none`, or names separated by commas, among them `usual`; `no-` before a name removes the kind
    /// from those before it, or from the usual ones.
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

    /// Counts a kind if it strikes.
    pub(super) fn count(&mut self, kind: Surprise, strikes: bool) {
        self.0[kind as usize] += u32::from(strikes);
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

impl FromIterator<Surprise> for Struck {
    fn from_iter<I: IntoIterator<Item = Surprise>>(kinds: I) -> Self {
        let mut struck = Self::default();
        kinds.into_iter().for_each(|kind| struck.count(kind, true));
        struck
    }
}

impl fmt::Display for Struck {
    /// Formats as in `2 late, 1 short`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        f.pad(&kinds.join(", "))
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
}
