//! What gdb is answered.

use gdbstub::target::TargetError;

use crate::error::Error;

/// What gdb is told where something cannot be had: "invalid argument".
pub(in crate::debug) const REFUSED: TargetError<Error> = TargetError::Errno(22);

/// Copies the part of something long that gdb asks for.
pub(in crate::debug) fn part(all: &[u8], offset: u64, length: usize, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| all.get(offset..)).unwrap_or_default();
    let len = rest.len().min(length).min(buffer.len());
    buffer[..len].copy_from_slice(&rest[..len]);
    len
}
