//! What the kernel has written into the program's memory.

use crate::Error;
use crate::syscalls::{Description, Out, ioctl_output};
use crate::trace::event::Write;
use crate::tracee::{Memory, PAGE};

/// What must be known before the call to tell what it wrote: the lengths that it overwrites.
#[derive(Debug, Default)]
pub(super) struct Before {
    lengths: Vec<u64>,
}

/// Why the outputs of a call cannot be told.
#[derive(Debug)]
pub(super) enum Failure {
    /// It did what is not described, in words.
    Undescribed(String),
    /// Memory could not be read.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The offsets in `struct msghdr` (recvmsg(2)), all of whose fields are 8 bytes wide or padded to that.
mod msghdr {
    pub(super) const NAME: u64 = 0;
    pub(super) const NAME_LEN: u64 = 8;
    pub(super) const IOV: u64 = 16;
    pub(super) const IOV_LEN: u64 = 24;
    pub(super) const CONTROL: u64 = 32;
    pub(super) const CONTROL_LEN: u64 = 40;
    pub(super) const SIZE: usize = 56;
}

/// Look at what a call is about to overwrite.
pub(super) fn before(memory: &Memory, description: &Description, args: &[u64; 6]) -> Before {
    let lengths = description
        .outs
        .iter()
        .filter_map(|out| match *out {
            Out::Sized { len, .. } => Some(memory.u32(args[len]).unwrap_or(0).into()),
            Out::Message(at) => Some(memory.u32(args[at] + msghdr::NAME_LEN).unwrap_or(0).into()),
            _ => None,
        })
        .collect();
    Before { lengths }
}

/// What a call has written that returned `result`.
pub(super) fn collect(
    memory: &Memory,
    description: &Description,
    args: &[u64; 6],
    before: &Before,
    result: i64,
) -> Result<Vec<Write>, Failure> {
    let mut writes = Writes { memory, list: Vec::new() };
    let Ok(result) = u64::try_from(result) else { return Ok(writes.list) };
    let mut lengths = before.lengths.iter().copied();
    for out in description.outs {
        match *out {
            Out::Returned(at) => writes.add(args[at], result.min(args[at + 1]))?,
            Out::Fixed(at, bytes) => writes.add(args[at], bytes)?,
            Out::Array { at, count, size } => writes.add(args[at], args[count].saturating_mul(size))?,
            Out::Items { at, count, size } => {
                writes.add(args[at], result.min(args[count]).saturating_mul(size))?;
            }
            Out::PerPage { at, len } => writes.add(args[at], args[len].div_ceil(PAGE))?,
            Out::Sized { at, len } => {
                let had = lengths.next().unwrap_or(0);
                if args[at] != 0 && args[len] != 0 {
                    writes.add(args[at], had.min(memory.u32(args[len])?.into()))?;
                    writes.add(args[len], 4)?;
                }
            }
            Out::Iovec { at, count } => writes.scattered(args[at], args[count], result)?,
            Out::Message(at) => {
                let header = args[at];
                let had = lengths.next().unwrap_or(0);
                let name_len = u64::from(memory.u32(header + msghdr::NAME_LEN)?);
                writes.add(memory.u64(header + msghdr::NAME)?, had.min(name_len))?;
                let iov = memory.u64(header + msghdr::IOV)?;
                writes.scattered(iov, memory.u64(header + msghdr::IOV_LEN)?, result)?;
                let control_len = memory.u64(header + msghdr::CONTROL_LEN)?;
                writes.add(memory.u64(header + msghdr::CONTROL)?, control_len)?;
                writes.add(header, msghdr::SIZE as u64)?;
            }
            Out::Ioctl => match ioctl_output(args[1]) {
                Some(bytes) => writes.add(args[2], bytes)?,
                None => return Err(Failure::Undescribed(format!("ioctl request {:#x}", args[1]))),
            },
            Out::Fcntl => match args[1] as i32 {
                libc::F_GETLK | libc::F_OFD_GETLK => writes.add(args[2], size_of::<libc::flock>() as u64)?,
                F_GETOWN_EX => writes.add(args[2], 8)?,
                _ => {}
            },
            Out::Prctl => match prctl_output(args[0] as i32) {
                Some(bytes) => writes.add(args[1], bytes)?,
                None => return Err(Failure::Undescribed(format!("prctl option {}", args[0]))),
            },
            Out::ArchPrctl => match args[0] {
                ARCH_SET_FS | ARCH_SET_GS => {}
                ARCH_GET_FS | ARCH_GET_GS => writes.add(args[1], 8)?,
                code => return Err(Failure::Undescribed(format!("arch_prctl code {code:#x}"))),
            },
        }
    }
    Ok(writes.list)
}

/// fcntl(2)
const F_GETOWN_EX: i32 = 16;

// arch_prctl(2)
const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;
const ARCH_GET_GS: u64 = 0x1004;

/// How many bytes at argument 1 a successful prctl(2) writes; none for an option that is not described.
fn prctl_output(option: i32) -> Option<u64> {
    const OPTIONS: &[(i32, u64)] = &[
        (libc::PR_SET_NAME, 0),
        (libc::PR_GET_NAME, 16),
        (libc::PR_SET_PDEATHSIG, 0),
        (libc::PR_GET_PDEATHSIG, 4),
        (libc::PR_GET_DUMPABLE, 0),
        (libc::PR_GET_KEEPCAPS, 0),
        (libc::PR_SET_TIMERSLACK, 0),
        (libc::PR_GET_TIMERSLACK, 0),
        (libc::PR_CAPBSET_READ, 0),
        (libc::PR_SET_NO_NEW_PRIVS, 0),
        (libc::PR_GET_NO_NEW_PRIVS, 0),
        (libc::PR_SET_VMA, 0),
        (libc::PR_SET_THP_DISABLE, 0),
        (libc::PR_GET_THP_DISABLE, 0),
        (libc::PR_SET_CHILD_SUBREAPER, 0),
        (libc::PR_GET_CHILD_SUBREAPER, 4),
        (libc::PR_GET_SECCOMP, 0),
    ];
    OPTIONS.iter().find(|(o, _)| *o == option).map(|(_, bytes)| *bytes)
}

struct Writes<'a> {
    memory: &'a Memory,
    list: Vec<Write>,
}

impl Writes<'_> {
    fn add(&mut self, address: u64, len: u64) -> Result<(), Error> {
        if address != 0 && len != 0 {
            self.list.push(Write { address, bytes: self.memory.bytes(address, len as usize)? });
        }
        Ok(())
    }

    /// The first `left` bytes of the buffers of an iovec array.
    fn scattered(&mut self, array: u64, count: u64, mut left: u64) -> Result<(), Error> {
        for i in 0..count {
            if left == 0 {
                break;
            }
            let at = array + i * 16;
            let len = self.memory.u64(at + 8)?.min(left);
            self.add(self.memory.u64(at)?, len)?;
            left -= len;
        }
        Ok(())
    }
}
