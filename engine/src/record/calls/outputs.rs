//! What the kernel has written into the program's memory.

use super::outputs;
use crate::Error;
use crate::record::step::{Flow, Halt};
use crate::record::tree::call::{Call, interrupted};
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{Answer, Description, Out, encoded_size};
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::tracee::{Memory, PAGE, semaphore_set};

/// Memory saved before a call, to determine what the call wrote or to make it again.
#[derive(Debug, Default)]
pub(in crate::record) struct Before {
    /// The lengths that the call overwrites.
    lengths: Vec<u64>,
    /// The sets that the call overwrites.
    sets: Vec<Write>,
}

/// Why a call's outputs cannot be determined.
#[derive(Debug)]
pub(in crate::record) enum Failure {
    /// The call did something that the table does not describe; named in words.
    Undescribed(String),
    /// Memory could not be read.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Offsets in `struct msghdr` (recvmsg(2)). All fields are 8 bytes wide or padded to that.
mod msghdr {
    pub(super) const NAME: u64 = 0;
    pub(super) const NAME_LEN: u64 = 8;
    pub(super) const IOV: u64 = 16;
    pub(super) const IOV_LEN: u64 = 24;
    pub(super) const CONTROL: u64 = 32;
    pub(super) const CONTROL_LEN: u64 = 40;
    pub(super) const SIZE: usize = 56;
}

/// Offsets in `struct mmsghdr` (recvmmsg(2)): a msghdr, and the length of the message.
mod mmsghdr {
    pub(super) const LEN: u64 = super::msghdr::SIZE as u64;
    pub(super) const SIZE: u64 = LEN + 8;
    /// Messages that the kernel takes at once (`UIO_MAXIOV`).
    pub(super) const MOST: u64 = 1024;
}

/// Saves what a call is about to overwrite.
pub(in crate::record) fn before(memory: &Memory, description: &Description, args: &[u64; 6]) -> Before {
    let mut before = Before::default();
    before.note(memory, description.outs, args);
    before
}

impl Before {
    /// Restores the sets that a call has overwritten, so that it can be made again.
    pub(in crate::record) fn restore(&self, memory: &Memory) -> Result<(), Error> {
        self.sets.iter().try_for_each(|set| memory.write(set.address, &set.bytes))
    }

    fn note(&mut self, memory: &Memory, outs: &[Out], args: &[u64; 6]) {
        let word = |address: u64| memory.u32(address).unwrap_or(0).into();
        for out in outs {
            match *out {
                Out::Sized { len, .. } => self.lengths.push(word(args[len])),
                Out::Message(at) => self.lengths.push(word(args[at].wrapping_add(msghdr::NAME_LEN))),
                Out::Messages { at, count } => {
                    let at = |i| args[at].wrapping_add(i * mmsghdr::SIZE + msghdr::NAME_LEN);
                    self.lengths.extend((0..args[count].min(mmsghdr::MOST)).map(|i| word(at(i))));
                }
                Out::Bits { at, count } if args[at] != 0 => {
                    let bytes = memory.available(args[at], bits(args[count]) as usize);
                    self.sets.push(Write { address: args[at], bytes });
                }
                Out::Commands(commands) => {
                    if let Some(Answer::Writes(outs)) = commands.answer(memory, args) {
                        self.note(memory, outs, args);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns what a call that returned `result` has written.
pub(super) fn collect(
    memory: &Memory,
    description: &Description,
    args: &[u64; 6],
    before: &Before,
    result: i64,
) -> Result<Vec<Write>, Failure> {
    let mut writes =
        Writes { memory, args, result, lengths: before.lengths.iter().copied(), list: Vec::new() };
    writes.all(description.outs)?;
    Ok(writes.list)
}

struct Writes<'a> {
    memory: &'a Memory,
    args: &'a [u64; 6],
    /// What the call returned.
    result: i64,
    lengths: std::iter::Copied<std::slice::Iter<'a, u64>>,
    list: Vec<Write>,
}

/// Result of an interrupted call that the kernel does not restart.
const EINTR: i64 = -(libc::EINTR as i64);

/// Result of a call that could not write everything.
const EFAULT: i64 = -(libc::EFAULT as i64);

impl Writes<'_> {
    fn all(&mut self, outs: &[Out]) -> Result<(), Failure> {
        outs.iter().try_for_each(|out| match (out, u64::try_from(self.result)) {
            (Out::Always(at, bytes), _) => {
                self.add(self.args[*at], *bytes);
                Ok(())
            }
            (Out::Commands(commands), _) => match commands.answer(self.memory, self.args) {
                Some(Answer::Writes(outs)) => self.all(outs),
                Some(Answer::Refused(_) | Answer::Emulated(_) | Answer::Unsupported) => Ok(()),
                None if self.result < 0 => Ok(()),
                None => {
                    let command = commands.command(self.memory, self.args).unwrap_or(0);
                    Err(Failure::Undescribed(format!("{} {command:#x}", commands.what)))
                }
            },
            (Out::Array { .. }, Err(_)) if self.result == EINTR || interrupted(self.result) => {
                self.one(out, 0)
            }
            // It has filled in the pages before the first that is not mapped.
            (Out::PerPage { at, len }, Err(_)) if self.result == -i64::from(libc::ENOMEM) => {
                /// More pages than any memory without gaps has.
                const MOST: u64 = 1 << 20;
                self.add(self.args[*at], self.args[*len].div_ceil(PAGE).min(MOST));
                Ok(())
            }
            // It has written up to where it failed: whatever is there is right.
            (out, Err(_)) if self.result == EFAULT => match self.one(out, u64::MAX) {
                Err(Failure::Error(_)) => Ok(()),
                done => done,
            },
            (_, Err(_)) => Ok(()),
            (out, Ok(result)) => self.one(out, result),
        })
    }

    /// Adds what a successful call has written to one output.
    fn one(&mut self, out: &Out, result: u64) -> Result<(), Failure> {
        let (memory, args) = (self.memory, self.args);
        match *out {
            Out::Returned(at) => self.add(args[at], result.min(args[at + 1])),
            Out::Fixed(at, bytes) => self.add(args[at], bytes),
            Out::Typed(at) => self.add(args[at], result.saturating_add(8)),
            Out::Encoded => self.add(args[2], encoded_size(args[1])),
            Out::Array { at, count, size } => self.add(args[at], args[count].saturating_mul(size)),
            Out::Bits { at, count } => self.add(args[at], bits(args[count])),
            Out::Items { at, count, size } => {
                self.add(args[at], result.min(args[count]).saturating_mul(size));
            }
            Out::PerPage { at, len } => self.add(args[at], args[len].div_ceil(PAGE)),
            Out::Sized { at, len } => {
                let had = self.lengths.next().unwrap_or(0);
                // An unreadable word has not been written: without a buffer accept(2) takes any address.
                if let Ok(has) = memory.u32(args[len]) {
                    self.add(args[at], had.min(has.into()));
                    self.add(args[len], 4);
                }
            }
            Out::Iovec { at, count } => self.scattered(args[at], args[count], result)?,
            Out::Message(at) => self.message(args[at], result)?,
            Out::Messages { at, count } => {
                for i in 0..result.min(args[count]) {
                    let header = args[at] + i * mmsghdr::SIZE;
                    self.message(header, memory.u32(header + mmsghdr::LEN)?.into())?;
                    self.add(header + mmsghdr::LEN, 4);
                }
            }
            Out::Counted { at, header, count, room, size } => {
                self.counted(args[at], header, count, room, size)?
            }
            Out::Pointed { at, pointer, len } => {
                let len = memory.u32(args[at] + len)?;
                self.add(memory.u64(args[at] + pointer)?, len.into());
            }
            Out::Semaphores(at) => match semaphore_set(args[0] as i32).map(|set| u64::from(set.count)) {
                Some(count) => self.add(args[at], count.saturating_mul(2)),
                None => return Err(Failure::Undescribed("semctl of a set that is gone".into())),
            },
            Out::Always(..) | Out::Commands(_) => {}
        }
        Ok(())
    }

    /// Adds the mapped part of a range. The kernel has written nothing where nothing is mapped.
    fn add(&mut self, address: u64, len: u64) {
        /// The most that any call transfers (`MAX_RW_COUNT`).
        const MOST: u64 = 0x7fff_f000;
        if address == 0 || len == 0 {
            return;
        }
        let bytes = self.memory.available(address, len.min(MOST) as usize);
        if !bytes.is_empty() {
            self.list.push(Write { address, bytes });
        }
    }

    /// Adds the first `left` bytes of the buffers in an iovec array.
    fn scattered(&mut self, array: u64, count: u64, mut left: u64) -> Result<(), Error> {
        for i in 0..count {
            if left == 0 {
                break;
            }
            let at = array + i * 16;
            let len = self.memory.u64(at + 8)?.min(left);
            self.add(self.memory.u64(at)?, len);
            left -= len;
        }
        Ok(())
    }

    /// Adds a message of `len` bytes that a msghdr describes.
    fn message(&mut self, header: u64, len: u64) -> Result<(), Error> {
        let memory = self.memory;
        let had = self.lengths.next().unwrap_or(0);
        let name_len = u64::from(memory.u32(header + msghdr::NAME_LEN)?);
        self.add(memory.u64(header + msghdr::NAME)?, had.min(name_len));
        self.scattered(memory.u64(header + msghdr::IOV)?, memory.u64(header + msghdr::IOV_LEN)?, len)?;
        let control_len = memory.u64(header + msghdr::CONTROL_LEN)?;
        self.add(memory.u64(header + msghdr::CONTROL)?, control_len);
        self.add(header, msghdr::SIZE as u64);
        Ok(())
    }

    /// Adds a structure that is followed by a number of items.
    fn counted(
        &mut self,
        at: u64,
        header: u64,
        count: u64,
        room: Option<u64>,
        size: u64,
    ) -> Result<(), Error> {
        let mut items = u64::from(self.memory.u32(at + count)?);
        if let Some(room) = room {
            items = items.min(self.memory.u32(at + room)?.into());
        }
        self.add(at, header + items * size);
        Ok(())
    }
}

/// Returns the size in bytes of a set of `count` bits, as the kernel writes it: in words, and no larger than a
/// descriptor table can be.
fn bits(count: u64) -> u64 {
    /// The default maximum of `/proc/sys/fs/nr_open`.
    const MOST: u64 = 1 << 20;
    count.min(MOST).div_ceil(64) * 8
}

impl Tasks {
    pub(in crate::record) fn outputs(
        &mut self,
        id: TaskId,
        description: &Description,
        call: &Call,
        before: &outputs::Before,
        result: i64,
    ) -> Flow<Vec<Write>> {
        match outputs::collect(&self.space(id).memory, description, &call.args(), before, result) {
            Ok(writes) => Ok(writes),
            Err(Failure::Undescribed(what)) => self.unsupported(id, what),
            Err(Failure::Error(error)) => Err(Halt::Error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_in_words() {
        assert_eq!([0, 1, 64, 65].map(bits), [0, 8, 8, 16]);
        assert_eq!(bits(u64::MAX), 1 << 17);
    }
}
