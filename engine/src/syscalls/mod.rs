//! The system calls: one table, read by record and replay alike.
//!
//! Each call is described once: who makes it, what it writes to memory, whether it may block, and how it replays. Every
//! call is described; a number without a description is one that Linux has not assigned. The room stands on
//! [`Memory`](crate::tracee::Memory) alone, as arguments can be addresses.

mod clone;
mod commands;
mod describe;
mod effects;
mod futex;
mod names;
mod table;

pub use clone::{CloneCall, NAMESPACES};
pub use commands::ioctl::encoded_size;
pub use describe::{Answer, Block, Class, Commands, Description, Emulation, Key, Out, Performance};
pub use effects::{
    Change, Changed, Extent, FileTimes, Stamps, Starter, Units, change, changes_contents, file_times,
    gathered, gathered_up_to, given, set_times, signal_sent, stamps, starts_up,
};
pub use futex::{FutexCall, FutexTimeout};
pub use names::{Address, PathTaken, Role, names, open_flags, paths, takes_address};
pub use table::TABLE;

/// Returns the description of the call with this number; `None` if there is no such call (`ENOSYS`).
#[must_use]
pub fn describe(number: u64) -> Option<&'static Description> {
    static BY_NUMBER: std::sync::LazyLock<Vec<Option<&'static Description>>> =
        std::sync::LazyLock::new(|| {
            let last = TABLE.iter().map(|d| d.number).max().unwrap_or_default();
            let mut by_number = vec![None; last as usize + 1];
            for description in TABLE {
                by_number[description.number as usize] = Some(description);
            }
            by_number
        });
    BY_NUMBER.get(usize::try_from(number).ok()?).copied().flatten()
}

/// Whether a call is a tick: other tasks may see its effect.
#[must_use]
pub fn ticks(number: u64) -> bool {
    !describe(number).is_some_and(|description| description.own)
}

/// Returns the name of a call.
#[must_use]
pub fn name(number: u64) -> String {
    describe(number)
        .map_or_else(|| format!("system call {number}"), |description| description.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique() {
        let mut numbers: Vec<_> = TABLE.iter().map(|d| d.number).collect();
        numbers.sort_unstable();
        let all = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn calls_that_do_not_stop_are_ticks_as_those_that_do() {
        use rrtest_preload::calls::{Buffering, call};
        let mut buffered = 0;
        for description in TABLE {
            let call = call(description.number);
            if call.way != Buffering::Stop {
                assert_eq!(call.ticks(), ticks(description.number), "{}", description.name());
                buffered += 1;
            }
        }
        assert!(buffered > 20);
    }

    /// The buffer writes its own table: it says of each call what this one says, where and how long.
    #[test]
    fn calls_that_do_not_stop_write_as_those_that_do() {
        use rrtest_preload::calls::{Buffering, Out as Buffered, call};
        let mut writes = 0;
        for description in TABLE {
            let call = call(description.number);
            let outs = match (call.way, description.outs) {
                (Buffering::Stop, _) => continue,
                // With a time zone, too, it stops.
                (Buffering::Time, [out, ..]) => std::slice::from_ref(out),
                // What has its own way to write is made with a stop.
                (Buffering::Flags, [Out::Commands(_)]) => &[],
                (_, outs) => outs,
            };
            let agrees = match (call.out, outs) {
                (Buffered::Nothing, []) => true,
                (Buffered::Returned(at), [Out::Returned(same)]) => usize::from(at) == *same,
                (Buffered::Fixed(at, len), [Out::Fixed(same, size)]) => {
                    usize::from(at) == *same && u64::from(len) == *size
                }
                _ => false,
            };
            assert!(agrees, "{}: {:?}, not {outs:?}", description.name(), call.out);
            writes += usize::from(!outs.is_empty());
        }
        assert!(writes > 20);
    }

    /// What the buffer logs of the program's memory is what the recorder takes of it.
    #[test]
    fn calls_that_do_not_stop_take_as_those_that_do() {
        use rrtest_preload::calls::{Buffering, call, gives};
        for description in TABLE.iter().filter(|description| call(description.number).way != Buffering::Stop)
        {
            let plain = effects::is_plain(description.number, 1);
            assert_eq!(gives(description.number), plain, "{}", description.name());
        }
    }

    /// The buffer's table has numbers only: each line of it names in a comment the calls that it means.
    #[test]
    fn the_numbers_of_calls_that_do_not_stop_are_those_of_their_names() {
        let source = include_str!("../../../preload/src/calls.rs");
        let (_, lists) = source.split_once("const READ: &[usize]").expect("the lists");
        let mut named = 0;
        for line in lists.lines() {
            let Some((numbers, names)) = line.split_once(" // ") else { continue };
            let of_tuple = numbers.trim().strip_prefix('(').and_then(|rest| rest.split(',').next());
            let numbers: Vec<u64> = match of_tuple {
                Some(number) => number.parse().into_iter().collect(),
                None => numbers.split(',').filter_map(|number| number.trim().parse().ok()).collect(),
            };
            let names: Vec<_> = names.split(", ").collect();
            assert_eq!(numbers.iter().map(|number| name(*number)).collect::<Vec<_>>(), names, "{line}");
            named += names.len();
        }
        assert!(named > 100, "{named}");
    }

    #[test]
    fn calls_at_which_tasks_meet_are_ticks() {
        let touches = |number| rrtest_preload::calls::call(number).touches(&[0; 6], || false).is_some();
        let places: Vec<_> = TABLE.iter().filter(|description| touches(description.number)).collect();
        assert!(places.len() > 60);
        for description in places {
            assert!(ticks(description.number), "{}", description.name());
        }
    }

    #[test]
    fn calls_are_found_by_number() {
        assert_eq!(describe(0).map(Description::name), Some("read"));
        assert_eq!(describe(u64::MAX).map(Description::name), None);
        assert_eq!(name(libc::SYS_execve as u64), "execve");
        assert_eq!(name(100_000), "system call 100000");
    }

    #[test]
    fn every_call_is_described() {
        /// x86-64 leaves out these numbers, so that later calls have the same number on all architectures.
        const GAP: std::ops::RangeInclusive<u64> = 337..=423;
        /// listns(2), of Linux 6.19: at least up to this one.
        const KNOWN: u64 = 470;
        let last = TABLE.iter().map(|description| description.number).max().unwrap_or(0);
        assert!(last >= KNOWN, "{last}");
        for number in 0..=last {
            let described = describe(number);
            assert_eq!(described.is_none(), GAP.contains(&number), "{}", name(number));
            assert!(described.is_none_or(|d| d.number == number && !d.name().is_empty()));
        }
        assert!(describe(last + 1).is_none());
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(Description::name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn outputs_name_arguments_that_there_are() {
        fn highest(out: &Out) -> usize {
            match *out {
                Out::Fixed(at, _) | Out::Always(at, _) => at,
                Out::Message(at) | Out::Typed(at) | Out::Semaphores(at) => at,
                Out::Returned(at) => at + 1,
                Out::Array { at, count, .. } | Out::Items { at, count, .. } | Out::Bits { at, count } => {
                    at.max(count)
                }
                Out::Iovec { at, count } | Out::Messages { at, count } => at.max(count),
                Out::PerPage { at, len } | Out::Sized { at, len } => at.max(len),
                Out::Counted { at, .. } | Out::Pointed { at, .. } => at,
                Out::Encoded => 2,
                Out::Commands(commands) => commands
                    .known
                    .iter()
                    .map(|(_, answer)| match answer {
                        Answer::Writes(outs) => outs.iter().map(highest).max().unwrap_or(0),
                        Answer::Refused(_) | Answer::Emulated(_) | Answer::Unsupported => 0,
                    })
                    .max()
                    .unwrap_or(0),
            }
        }
        for description in TABLE {
            assert!(description.outs.iter().all(|out| highest(out) < 6), "{}", description.name());
            assert!(description.class == Class::Logged || description.block == Block::Never);
        }
    }

    #[test]
    fn errors_of_refused_calls_are_errno_values() {
        for description in TABLE {
            if let Class::Refused(errno) = description.class {
                assert!((1..4096).contains(&errno) && description.outs.is_empty(), "{}", description.name());
            }
        }
    }
}
