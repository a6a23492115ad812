//! Events in words, one line each.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::sys::signal::Signal as SignalName;
use rrtest_preload::reads::{Read, What};

use super::event::{
    Backing, Effect, Event, FileChange, Image, MovedReads, Parked, Position, Signal, Stream, Syscall, Write,
    Written,
};
use crate::ending::{Ending, Overdue};
use crate::task::TaskId;
use crate::tracee::buffered_calls;

/// How many of a system call's writes are described one by one.
const WRITES: usize = 3;

/// Gives the name of a system call, if its number has one.
pub type Names = fn(u64) -> Option<&'static str>;

/// An event in words. Made by [`Event::describe`].
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    event: &'a Event,
    names: Names,
}

/// What a system call returned, as strace(1) prints it.
#[derive(Clone, Copy, Debug)]
pub struct Returned(pub i64);

impl Display for Returned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let result = self.0;
        match i32::try_from(-i128::from(result)).map(Errno::from_raw) {
            Ok(errno) if result < 0 && errno != Errno::UnknownErrno => write!(f, "-1 {errno:?}"),
            // Beyond what a number of bytes can be, it is an address.
            _ if result > i64::from(u32::MAX) => write!(f, "{result:#x}"),
            _ => write!(f, "{result}"),
        }
    }
}

impl Event {
    /// The event in words, on one line. `names` gives the names of system calls.
    #[must_use]
    pub fn describe(&self, names: Names) -> Description<'_> {
        Description { event: self, names }
    }
}

impl Display for Description<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Image(image) => describe_image(image, f),
            Event::Buffer(version) => write!(f, "the system-call buffer, version {version}"),
            Event::Patched(patched) => {
                write!(f, "from now on the call site at {:#x} leads into the buffer", patched.site)
            }
            Event::Buffered(log) => describe_buffered(log, self.names, f),
            Event::Run { task, slice, .. } => write!(f, "run {task} for {slice} ticks"),
            Event::Cut(ticks) => write!(f, "has {ticks} ticks left"),
            Event::Tick(position) => write!(f, "tick at {position}"),
            Event::Entered(position) => write!(f, "stops in front of a system call at {position}"),
            Event::MovedReads(MovedReads { task, moved }) => {
                let count = moved.len();
                write!(f, "{count} instructions of {task} that read clocks and the like lead into the buffer")
            }
            Event::TrappedRead(read) => {
                let name = What::of_word(read.what.into()).read.name();
                write!(f, "{name} reads {:#x}, at {}", read.value, read.position)
            }
            Event::Drained(position) => write!(f, "is about to read a clock or the like at {position}"),
            Event::Syscall(syscall) => describe_syscall(syscall, self.names, f),
            Event::Signal(signal) => describe_signal(signal, f),
            Event::Written(Written { task, writes }) => {
                write!(f, "the kernel writes {} times to the memory of {task}", writes.len())
            }
            Event::AsyncStop(async_stop) => {
                write!(f, "stops in the middle of its work at {}", async_stop.position)
            }
            Event::Killed(task) => write!(f, "the process of {task} is killed"),
            Event::Parked(Parked { task, slot }) => write!(f, "{task} waits for its turn in slot {slot}"),
            Event::Unparked(task) => write!(f, "{task} waits at its call again"),
            Event::Ended(ending) => describe_ending(ending, f),
        }
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { left, registers } = self;
        write!(f, "ip {:#x}, sp {:#x}, {left} ticks left", registers.ip(), registers.sp())
    }
}

fn describe_image(image: &Image, f: &mut Formatter<'_>) -> fmt::Result {
    let bytes: usize = image.writes.iter().map(|write| write.bytes.len()).sum();
    write!(f, "start of `{}`: {} mappings, {bytes} bytes of contents", image.program, image.mappings.len())
}

fn describe_syscall(syscall: &Syscall, names: Names, f: &mut Formatter<'_>) -> fmt::Result {
    match names(syscall.number) {
        Some(name) => f.write_str(name)?,
        None => write!(f, "system call {}", syscall.number)?,
    }
    for (index, arg) in syscall.args.iter().enumerate() {
        write!(f, "{}{arg:#x}", if index == 0 { "(" } else { ", " })?;
    }
    f.write_str(") = ")?;
    Display::fmt(&Returned(syscall.result), f)?;
    for Write { address, bytes } in syscall.writes.iter().take(WRITES) {
        write!(f, ", {} bytes to {address:#x}", bytes.len())?;
    }
    if let Some(more @ 1..) = syscall.writes.len().checked_sub(WRITES) {
        write!(f, ", {more} more writes")?;
    }
    match &syscall.effect {
        Effect::None => {}
        Effect::Output(Stream::Stdout, _) => f.write_str(", to standard output")?,
        Effect::Output(Stream::Stderr, _) => f.write_str(", to standard error")?,
        Effect::MapFile(Backing { inode, offset, len, .. }) => {
            write!(f, ", maps file {} from {offset:#x}, {len:#x} bytes", inode.0)?;
        }
        Effect::ChangeFile(FileChange { inode, size, writes, holes }) => {
            let written: u64 = writes.iter().map(|write| write.bytes.len() as u64).sum();
            let bytes = holes.iter().fold(written, |all, (_, len)| all.saturating_add(*len));
            write!(f, ", changes {bytes} mapped bytes of file {}, which has {size:#x} bytes", inode.0)?;
        }
        Effect::Unmap(parts) => {
            let bytes = parts.iter().fold(0_u64, |all, (_, len)| all.saturating_add(*len));
            write!(f, ", unmaps {bytes:#x} bytes")?;
        }
        Effect::Advised(len) => write!(f, ", after {len:#x} bytes")?,
        Effect::Spawned(task) => write!(f, ", creates {task}")?,
        Effect::Executed(image) => {
            f.write_str(", ")?;
            describe_image(image, f)?;
        }
    }
    write!(f, ", at {}", syscall.position)
}

/// Calls that were made without a stop: how many of each.
fn describe_buffered(log: &[u8], names: Names, f: &mut Formatter<'_>) -> fmt::Result {
    let mut counts = BTreeMap::new();
    for call in buffered_calls(log) {
        *counts.entry(call.number).or_insert(0_u64) += 1;
    }
    f.write_str("makes calls without a stop:")?;
    for (index, (number, count)) in counts.into_iter().enumerate() {
        let name = Read::of_number(number).map(Read::name).or_else(|| names(number)).unwrap_or("unknown");
        write!(f, "{} {count} × {name}", if index == 0 { "" } else { "," })?;
    }
    let mut handed = buffered_calls(log).filter_map(|call| call.handed);
    if let Some(first) = handed.next() {
        let (count, last) = handed.fold((1, first), |(count, _), next| (count + 1, next));
        write!(f, ", and {count} times hands the core over, in the end to {}", TaskId(last.task))?;
    }
    Ok(())
}

fn describe_signal(signal: &Signal, f: &mut Formatter<'_>) -> fmt::Result {
    name_signal(signal.number, f)?;
    if let Some(frame) = signal.handler.as_ref().and_then(|handler| handler.writes.last()) {
        write!(f, ", handled with a frame of {} bytes at {:#x}", frame.bytes.len(), frame.address)?;
    }
    write!(f, ", at {}", signal.position)
}

fn describe_ending(ending: &Ending, f: &mut Formatter<'_>) -> fmt::Result {
    match ending {
        Ending::Exited(code) => write!(f, "end: exited with code {code}"),
        Ending::Killed { signal, task, .. } => {
            f.write_str("end: killed by ")?;
            name_signal(*signal, f)?;
            write!(f, " in {task}")
        }
        Ending::Deadlocked(tasks) => write!(f, "end: deadlock of {} tasks", tasks.len()),
        Ending::Hung { why, .. } => f.write_str(match why {
            Overdue::Limit => "end: ran past the time limit",
            Overdue::NothingDue(_) => "end: nothing could happen before the time limit",
            Overdue::Unusual { .. } => "end: took much longer than usual",
            Overdue::CutOff(_) => "end: cut off",
        }),
        Ending::Unsupported { what, task, name } => {
            write!(f, "end: {task} (thread `{name}`) did what cannot be recorded: {what}")
        }
    }
}

fn name_signal(number: i32, f: &mut Formatter<'_>) -> fmt::Result {
    match SignalName::try_from(number) {
        Ok(signal) => f.write_str(signal.as_str()),
        Err(_) => write!(f, "signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Registers;
    use crate::trace::testing;

    fn names(number: u64) -> Option<&'static str> {
        (number == 1).then_some("write")
    }

    fn call(number: u64, result: i64) -> String {
        let mut registers = Registers([0x2000; 27]);
        registers.set_ip(0x1000);
        let position = Position { left: 37, registers };
        let args = [3, 0x5000, 16, 0, 0, 0];
        let (writes, effect) = (Vec::new(), Effect::None);
        let syscall = Syscall { position, number, args, result, writes, given: 0, names: Vec::new(), effect };
        Event::Syscall(syscall).describe(names).to_string()
    }

    #[test]
    fn a_call_is_described_with_its_result_and_place() {
        assert_eq!(
            call(1, 16),
            "write(0x3, 0x5000, 0x10, 0x0, 0x0, 0x0) = 16, at ip 0x1000, sp 0x2000, 37 ticks left"
        );
        assert!(call(999, 0).starts_with("system call 999(0x3, "));
    }

    #[test]
    fn results_are_errors_numbers_or_addresses() {
        for (result, words) in [
            (-11, " = -1 EAGAIN,"),
            (-512, " = -512,"),
            (i64::MIN, " = -9223372036854775808,"),
            (0, " = 0,"),
            (0x7fff_f7d1_4000, " = 0x7ffff7d14000,"),
        ] {
            assert!(call(1, result).contains(words), "{}", call(1, result));
        }
    }

    #[test]
    fn every_event_has_a_line_of_its_own() {
        let lines: Vec<_> =
            testing::every_kind().iter().map(|event| event.describe(names).to_string()).collect();
        for (index, line) in lines.iter().enumerate() {
            assert!(!line.is_empty() && !line.contains('\n'), "{line}");
            assert!(!lines[..index].contains(line), "{line}");
        }
    }
}
