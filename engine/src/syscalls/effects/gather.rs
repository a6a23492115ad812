//! What a call reads from the program's memory to write or send it.

use crate::tracee::Memory;

/// Where the bytes are that a call writes. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    /// At an address; the next argument is the length.
    Plain(usize),
    /// In the pieces of an iovec array (readv(2)); the argument after its address is their number.
    Pieces(usize),
    /// In the pieces that a msghdr lists (sendmsg(2)).
    Message(usize),
}

/// Calls that write bytes of the program's memory to where others can see them.
const CALLS: &[(i64, Bytes)] = &[
    (libc::SYS_write, Bytes::Plain(1)),
    (libc::SYS_pwrite64, Bytes::Plain(1)),
    (libc::SYS_sendto, Bytes::Plain(1)),
    (libc::SYS_mq_timedsend, Bytes::Plain(1)),
    (libc::SYS_writev, Bytes::Pieces(1)),
    (libc::SYS_pwritev, Bytes::Pieces(1)),
    (libc::SYS_pwritev2, Bytes::Pieces(1)),
    (libc::SYS_sendmsg, Bytes::Message(1)),
];

/// Whether a call has the bytes that it is to write at the address in this argument.
#[cfg(test)]
pub(in crate::syscalls) fn is_plain(number: u64, argument: usize) -> bool {
    let has = |bytes: &Bytes| matches!(bytes, Bytes::Plain(at) if *at == argument);
    CALLS.iter().any(|(call, bytes)| *call as u64 == number && has(bytes))
}

/// Larger writes are left to the kernel, which writes only a part (write(2)).
const MOST: u64 = 0x7fff_f000;

/// The most bytes of a message, whatever a queue allows (`HARD_MSGSIZEMAX` of the kernel).
const LONGEST_MESSAGE: u64 = 16 << 20;

/// Bytes of a struct iovec.
const IOVEC: u64 = 16;

/// Returns the bytes that write(2) or a similar call is to write, if all can be read. `None` for other calls.
#[must_use]
pub fn gathered(memory: &Memory, number: u64, args: &[u64; 6]) -> Option<Vec<u8>> {
    gathered_up_to(MOST, memory, number, args)
}

/// The same, if there are no more bytes than these.
#[must_use]
pub fn gathered_up_to(most: u64, memory: &Memory, number: u64, args: &[u64; 6]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (address, len) in pieces(memory, number, args)? {
        if len > most || bytes.len() as u64 + len > most {
            return None;
        }
        let got = memory.available(address, len as usize);
        let whole = got.len() as u64 == len;
        bytes.extend(got);
        if !whole {
            return None;
        }
    }
    Some(bytes)
}

/// Computes a digest of the bytes that a call with this result has written, piece by piece; 0 for a call that writes
/// none.
#[must_use]
pub fn given(memory: &Memory, number: u64, args: &[u64; 6], result: i64) -> u32 {
    const PART: u64 = 1 << 20;
    let mut left = u64::try_from(result).unwrap_or(0).min(MOST);
    if number == libc::SYS_mq_timedsend as u64 && result == 0 {
        // The kernel has taken no more. What a crafted trace has there could be any.
        left = args[2].min(LONGEST_MESSAGE);
    }
    if left == 0 || !CALLS.iter().any(|(call, _)| *call as u64 == number) {
        return 0;
    }
    let mut hash = crc32fast::Hasher::new();
    for (mut address, len) in pieces(memory, number, args).unwrap_or_default() {
        let mut len = len.min(left);
        left -= len;
        while len > 0 {
            let part = len.min(PART);
            hash.update(&memory.available(address, part as usize));
            address = address.wrapping_add(part);
            len -= part;
        }
    }
    // 0 means that there is nothing to compare.
    hash.finalize().max(1)
}

/// Returns address and length of each piece that a call is to write. `None` for a call that writes nothing, and if they
/// cannot be determined.
fn pieces(memory: &Memory, number: u64, args: &[u64; 6]) -> Option<Vec<(u64, u64)>> {
    /// Offsets in a struct msghdr (sendmsg(2)).
    const IOV: u64 = 16;
    const IOV_LEN: u64 = 24;
    /// Most pieces that the kernel accepts (`UIO_MAXIOV`).
    const PIECES: u64 = 1024;
    let (_, bytes) = CALLS.iter().find(|(call, _)| *call as u64 == number)?;
    let (array, count) = match *bytes {
        Bytes::Plain(at) => return Some(vec![(args[at], args[at + 1])]),
        Bytes::Pieces(at) => (args[at], args[at + 1]),
        Bytes::Message(at) => {
            (memory.u64(args[at].wrapping_add(IOV)).ok()?, memory.u64(args[at].wrapping_add(IOV_LEN)).ok()?)
        }
    };
    if count > PIECES {
        return None;
    }
    let piece = |i: u64| {
        let at = array.wrapping_add(i * IOVEC);
        Some((memory.u64(at).ok()?, memory.u64(at.wrapping_add(8)).ok()?))
    };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_more_bytes_than_the_kernel_takes() {
        let memory = Memory::open(nix::unistd::getpid()).unwrap();
        let text = vec![7_u8; LONGEST_MESSAGE as usize + 1];
        let digest = |len| {
            let args = [0, text.as_ptr() as u64, len, 0, 0, 0];
            given(&memory, libc::SYS_mq_timedsend as u64, &args, 0)
        };
        assert_ne!(digest(LONGEST_MESSAGE - 1), digest(LONGEST_MESSAGE));
        assert_eq!(digest(u64::MAX), digest(LONGEST_MESSAGE));
        drop(text);
    }
}
