//! The four debug registers of a task (Intel SDM, volume 3, 18.2): who has which.
//!
//! Several users share them: breakpoints of a search, watched words, a debugger. Each takes registers and gives them
//! back; only what changes is written, since each takes a request to the kernel.

use std::mem::offset_of;

use super::task::Stopped;
use crate::Error;
use crate::tracee::system::last_os;

/// How many there are.
const REGISTERS: usize = 4;

/// What a debug register has a task stop for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// It comes to the instruction at this address, and has not executed it.
    Execute(u64),
    /// It has written to what is at `address`: `len` bytes, aligned; 1, 2, 4 or 8.
    Write {
        /// Where.
        address: u64,
        /// How many bytes.
        len: u8,
    },
    /// It has read or written what is at `address`: `len` bytes, aligned; 1, 2, 4 or 8.
    Access {
        /// Where.
        address: u64,
        /// How many bytes.
        len: u8,
    },
}

impl Point {
    /// Its bits in debug register 7, for register 0: when to stop, and for how many bytes. None for what cannot be
    /// watched.
    fn condition(self) -> Option<u64> {
        match self {
            Self::Execute(_) => Some(0),
            Self::Write { address, len } | Self::Access { address, len } => {
                let when = if matches!(self, Self::Write { .. }) { 0b01 } else { 0b11 };
                let bytes = match len {
                    1 => 0b00,
                    2 => 0b01,
                    4 => 0b11,
                    8 => 0b10,
                    _ => return None,
                };
                address.is_multiple_of(len.into()).then_some(bytes << 2 | when)
            }
        }
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> u64 {
        match self {
            Self::Execute(address) | Self::Write { address, .. } | Self::Access { address, .. } => address,
        }
    }
}

/// What the debug registers of a task are used for; or are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters([Option<Point>; REGISTERS]);

impl DebugRegisters {
    /// Use a free one. None if all are in use, or the processor has no such one.
    pub fn take(&mut self, point: Point) -> Option<usize> {
        point.condition()?;
        let free = self.0.iter().position(Option::is_none)?;
        self.0[free] = Some(point);
        Some(free)
    }

    /// Give one back that is used for this. False if there is none.
    pub fn give_back(&mut self, point: Point) -> bool {
        let used = self.0.iter_mut().find(|used| **used == Some(point));
        used.map(Option::take).is_some()
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.iter().filter(|used| used.is_none()).count()
    }

    /// Whether none is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.free() == REGISTERS
    }

    /// What they are used for.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        self.0.into_iter().flatten()
    }

    /// The same with other addresses.
    #[must_use]
    pub fn map(self, change: impl Fn(Point) -> Point) -> Self {
        Self(self.0.map(|used| used.map(&change)))
    }

    /// Which of them debug register 6 says have had a task stop.
    pub fn hit(&self, status: u64) -> impl Iterator<Item = Point> {
        self.0.into_iter().enumerate().filter_map(move |(at, used)| used.filter(|_| status >> at & 1 == 1))
    }

    /// Debug register 7: each is on, in this task, where it is used.
    fn control(&self) -> u64 {
        let used = self.0.iter().enumerate().filter_map(|(at, used)| Some((at, used.as_ref()?.condition()?)));
        used.fold(0, |control, (at, condition)| control | 1 << (2 * at) | condition << (16 + 4 * at))
    }

    /// Make those of a task, which are used for what `self` says, be used for something else.
    ///
    /// # Errors
    /// If the task has been killed, or the processor or what stands for it has no such registers.
    pub fn change(&mut self, task: &Stopped, to: &Self) -> Result<(), Error> {
        /// The register that says what the others are for.
        const CONTROL: usize = 7;
        if self == to {
            return Ok(());
        }
        // The kernel refuses what does not fit together, so that all are off in between.
        if !self.is_empty() {
            set(task, CONTROL, 0)?;
        }
        for (at, (old, new)) in self.0.iter().zip(&to.0).enumerate() {
            if let Some(new) = new.filter(|new| old.map(Point::address) != Some(new.address())) {
                set(task, at, new.address())?;
            }
        }
        *self = *to;
        if to.is_empty() { Ok(()) } else { set(task, CONTROL, to.control()) }
    }
}

/// Debug register 6 of a task that has stopped with SIGTRAP: which registers have had it stop, a bit each.
///
/// # Errors
/// If the task has been killed.
pub fn debug_status(task: &Stopped) -> Result<u64, Error> {
    const STATUS: usize = 6;
    // It says nothing: an error is told by errno alone.
    nix::errno::Errno::clear();
    // SAFETY: PTRACE_PEEKUSER (ptrace(2)) takes an offset into `struct user`; no memory of ours.
    let status = unsafe {
        libc::ptrace(libc::PTRACE_PEEKUSER, task.tid().as_raw(), offset_of_register(STATUS), 0_usize)
    };
    if status == -1 && nix::errno::Errno::last_raw() != 0 {
        return Err(last_os(format!("read the debug registers of thread {}", task.tid())));
    }
    // What was told once is not told again.
    set(task, STATUS, 0)?;
    Ok(status.cast_unsigned())
}

fn offset_of_register(number: usize) -> usize {
    offset_of!(libc::user, u_debugreg) + number * size_of::<u64>()
}

fn set(task: &Stopped, number: usize, value: u64) -> Result<(), Error> {
    // SAFETY: PTRACE_POKEUSER (ptrace(2)) takes an offset into `struct user` and a word; no memory of ours.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_POKEUSER, task.tid().as_raw(), offset_of_register(number), value)
    };
    if result == -1 {
        return Err(last_os(format!("set the debug registers of thread {}", task.tid())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Point = Point::Execute(0x1000);
    const WORD: Point = Point::Write { address: 0x2000, len: 4 };
    const BYTE: Point = Point::Write { address: 0x2001, len: 1 };

    #[test]
    fn there_are_four_and_each_is_given_back_once() {
        let mut registers = DebugRegisters::default();
        assert_eq!(
            [CODE, WORD, CODE, BYTE, CODE].map(|point| registers.take(point)),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
        assert_eq!(registers.free(), 0);
        assert!(registers.give_back(WORD) && !registers.give_back(WORD));
        assert_eq!(registers.points().collect::<Vec<_>>(), [CODE, CODE, BYTE]);
        assert_eq!(registers.take(BYTE), Some(1), "the one that has become free");
        assert!(registers.give_back(CODE) && registers.give_back(CODE) && !registers.give_back(CODE));
    }

    #[test]
    fn the_control_word_is_that_of_the_manual() {
        let mut registers = DebugRegisters::default();
        assert_eq!(registers.control(), 0);
        let _ = [CODE, WORD, BYTE, Point::Write { address: 8, len: 8 }].map(|point| registers.take(point));
        // L0 to L3; then R/W and LEN of each: execution of one byte, writes of four, one and eight.
        assert_eq!(registers.control(), 0b0101_0101 | 0b1001_0001_1101_0000 << 16);
        registers.give_back(CODE);
        assert_eq!(registers.control(), 0b0101_0100 | 0b1001_0001_1101_0000 << 16);
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        let mut registers = DebugRegisters::default();
        for (address, len) in [(0x2001, 2), (0x2002, 4), (0x2004, 8), (0x2000, 3), (0x2000, 0), (0x2000, 16)]
        {
            assert_eq!(registers.take(Point::Write { address, len }), None);
        }
        assert!(registers.is_empty());
    }

    #[test]
    fn the_status_tells_which_were_hit() {
        let mut registers = DebugRegisters::default();
        let _ = [CODE, WORD, BYTE].map(|point| registers.take(point));
        assert_eq!(registers.hit(0xffff_0ff0 | 0b0101).collect::<Vec<_>>(), [CODE, BYTE]);
        assert_eq!(registers.hit(1 << 14 | 0b1000).count(), 0, "a single step, and one that is not in use");
    }
}
