//! What a call is to write out.

use crate::tracee::Memory;

/// The bytes that write(2) or writev(2) is to write, if all can be read.
#[must_use]
pub fn gathered(memory: &Memory, number: u64, args: &[u64; 6]) -> Option<Vec<u8>> {
    /// More than this is left to the kernel, which takes less than all.
    const MOST: u64 = 0x7fff_f000;
    let mut bytes = Vec::new();
    let mut add = |address: u64, len: u64| {
        if len > MOST || bytes.len() as u64 + len > MOST {
            return None;
        }
        let got = memory.available(address, len as usize);
        let whole = got.len() as u64 == len;
        bytes.extend(got);
        whole.then_some(())
    };
    if number == libc::SYS_write as u64 {
        add(args[1], args[2])?;
    } else {
        for i in 0..args[2] {
            let at = args[1] + i * 16;
            add(memory.u64(at).ok()?, memory.u64(at + 8).ok()?)?;
        }
    }
    Some(bytes)
}
